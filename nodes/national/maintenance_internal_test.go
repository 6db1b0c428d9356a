package national

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"entente.example/entente/server"
	"entente.example/entente/server/store"
)

// keptNode is the data file of a node with its configuration, in a folder.
type keptNode struct {
	t      *testing.T
	folder string
	config *Config
	store  *store.Store
	server.Maintenance
}

func newKeptNode(t *testing.T) *keptNode {
	t.Helper()
	k := &keptNode{t: t, folder: t.TempDir()}
	k.write("node.yaml", "member: XA\nfederation: "+strings.Repeat("ab", 32)+"\n")
	var err error
	k.config, err = LoadConfig(k.path("node.yaml"), nil, nil)
	k.must(err)
	deps := Deps{Now: func() time.Time { return time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC) }, Rand: rand.Reader}
	k.must(Init(k.config, deps))
	ring, err := k.config.sealing()
	k.must(err)
	m := &Material{Member: "XA", Data: k.config.Data, Sealing: ring, Backups: k.path("backups")}
	m.Federation, err = k.config.Pin()
	k.must(err)
	k.store, err = openData(m, deps, false)
	k.must(err)
	t.Cleanup(func() { k.must(k.store.Close()) })
	k.must(k.store.Update(func(tx *store.Tx) error {
		_, err := tx.Append(store.NewSeries("log"), []byte("value"))
		return err
	}))
	k.Maintenance = newMaintenance(k.store, m, deps, k.config.sealing)
	return k
}

func (k *keptNode) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *keptNode) path(name string) string { return filepath.Join(k.folder, name) }

func (k *keptNode) write(name, content string) {
	k.t.Helper()
	k.must(os.WriteFile(k.path(name), []byte(content), 0o600))
}

func nobody(uint64, uint64) {}

func TestABackupIsMadeInTheFolderUnderItsName(t *testing.T) {
	k := newKeptNode(t)
	done, err := k.Backup(t.Context(), "", nobody) // also makes the folder
	k.must(err)
	if done.GetPath() != k.path("backups/XA-20261124T060000Z.db") || done.GetTakenAt().AsTime().Hour() != 6 || done.GetValues() == 0 {
		t.Errorf("%v", done)
	}
	content, err := os.ReadFile(done.GetPath())
	k.must(err)
	if sha256.Sum256(content) != [32]byte(done.GetSha256()) {
		t.Error("the file has another SHA-256")
	}
	_, err = k.Backup(t.Context(), "before-the-move.db", nobody)
	k.must(err)
}

func TestABackupIsRefusedWithTheReason(t *testing.T) {
	tests := []struct {
		name, given string
		spoil       func(k *keptNode)
		code        codes.Code
		want        string
	}{
		{"under a name that is taken", "a.db", func(k *keptNode) {
			k.must(os.Mkdir(k.path("backups"), 0o700))
			k.write("backups/a.db", "dear")
		}, codes.AlreadyExists, "a.db: there is already a file of that name; give another name"},
		{"under a name with a path", "../node.db", nil, codes.InvalidArgument, "no path"},
		{"under a name with a path of another system", `..\node.db`, nil, codes.InvalidArgument, "no path"},
		{"under a hidden name", ".a.db", nil, codes.InvalidArgument, "first"},
		{"under a name of two lines", "a\nb", nil, codes.InvalidArgument, "no path"},
		{"where folder and its folder are missing", "a.db", func(k *keptNode) {
			k.Maintenance.(*maintenance).folder = k.path("no/backups")
		}, codes.FailedPrecondition, "make the folder"},
		{"where the folder is a file", "a.db", func(k *keptNode) { k.write("backups", "dear") }, codes.FailedPrecondition, "not a directory"},
		{"where there is no folder for it", "a.db", func(k *keptNode) { k.Maintenance.(*maintenance).folder = "" }, codes.Unimplemented, "no folder"},
		{"where the folder is not writable", "a.db", func(k *keptNode) {
			if os.Geteuid() == 0 {
				k.t.Skip("SKIPPED: the tests run as root, to whom no folder is closed; run them as another user")
			}
			k.must(os.Mkdir(k.path("backups"), 0o500))
		}, codes.FailedPrecondition, "let the node's user write there"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newKeptNode(t)
			if test.spoil != nil {
				test.spoil(k)
			}
			before := k.files()
			_, err := k.Backup(t.Context(), test.given, nobody)
			if status.Code(err) != test.code || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s with %q", err, test.code, test.want)
			}
			if after := k.files(); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
	t.Run("while another is under way", func(t *testing.T) {
		k := newKeptNode(t)
		asked := false
		_, err := k.Backup(t.Context(), "a.db", func(uint64, uint64) {
			if asked {
				return
			}
			asked = true
			_, err := k.Backup(t.Context(), "b.db", nobody)
			if status.Code(err) != codes.FailedPrecondition {
				t.Errorf("got %v", err)
			}
		})
		k.must(err)
	})
}

// files are all files below the folder, with their sizes.
func (k *keptNode) files() string {
	k.t.Helper()
	var text strings.Builder
	k.must(filepath.Walk(k.folder, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			fmt.Fprintln(&text, path, info.Size())
		}
		return err
	}))
	return text.String()
}

func TestTheSealingKeyIsChangedByTheConfigurationFile(t *testing.T) {
	k := newKeptNode(t)
	ignore := func(uint64, uint64, uint64) {}
	yaml, err := os.ReadFile(k.path("node.yaml"))
	k.must(err)
	k.must(store.CreateKey(k.path("second.key"), rand.Reader))

	k.write("node.yaml", string(yaml)+"sealing_key: second.key\n") // the former one is forgotten
	err = k.Reseal(t.Context(), ignore)
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "older_sealing_keys") {
		t.Fatalf("got %v", err)
	}
	k.write("node.yaml", string(yaml)+"sealing_key: third.key\nolder_sealing_keys: [sealing.key]\n")
	err = k.Reseal(t.Context(), ignore)
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "third.key") {
		t.Fatalf("got %v", err)
	}
	k.write("node.yaml", string(yaml)+"sealing_key: second.key\nolder_sealing_keys: [sealing.key]\n")
	var done, total, resealed uint64
	k.must(k.Reseal(t.Context(), func(d, t, r uint64) { done, total, resealed = d, t, r }))
	if done != total || resealed == 0 {
		t.Errorf("%d of %d, %d sealed anew", done, total, resealed)
	}
	k.must(k.Reseal(t.Context(), func(_, _, r uint64) { resealed = r }))
	left, err := k.store.Outdated(t.Context())
	k.must(err)
	if resealed != 0 || left != 0 {
		t.Errorf("%d sealed anew by the second run, %d left", resealed, left)
	}
	_, err = k.Backup(t.Context(), "under-the-new-key.db", nobody)
	k.must(err)
	second, err := store.LoadKey(k.path("second.key"))
	k.must(err)
	st, err := store.Open(store.Options{Path: k.path("backups/under-the-new-key.db"), Keys: store.Keyring{Current: second}, ReadOnly: true})
	k.must(err)
	k.must(st.Verify(t.Context(), nil))
	k.must(st.Close())
}
