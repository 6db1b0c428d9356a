package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func followCommand(env Env) *cobra.Command {
	var project, cursorFile string
	var kinds, areas []string
	var untilCurrent bool
	c := &cobra.Command{
		Use:   "follow",
		Short: "follow what the own member, or a project, shares and withdraws",
		Long: "Prints a line for each release and each withdrawal, from the beginning or from the cursor of --cursor-file, and stays\n" +
			"for new ones until it is interrupted. A broken connection is made anew without a gap. The cursor is kept after the\n" +
			"lines it stands for are written: after a crash the last lines may come again. JSON: one object a line.",
		Example: "  entente follow --config team.yaml --project harbour-light --cursor-file harbour.cursor",
		Args:    withUsage(cobra.NoArgs),
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			request := &ententev1.SubscribeRequest{ProjectId: project, UntilCurrent: untilCurrent}
			err := fillSubscription(request, s, kinds, areas, cursorFile)
			if err != nil {
				return err
			}
			return endless(ctx, s.follow(ctx, request, cursorFile, s.printItem))
		}),
	}
	addSettings(c, 0)
	c.Flags().StringVar(&project, "project", "", "a project; not given: all streams of the own member")
	c.Flags().StringSliceVar(&kinds, "kind", nil, "only these kinds, such as person,association")
	c.Flags().StringSliceVar(&areas, "crime-area", nil, "only records of these crime areas, such as drugs")
	c.Flags().StringVar(&cursorFile, "cursor-file", "", "go on from the cursor in this file and keep it there")
	c.Flags().BoolVar(&untilCurrent, "until-current", false, "end when all that is known now has been printed")
	return c
}

func fillSubscription(request *ententev1.SubscribeRequest, s *session, kinds, areas []string, cursorFile string) error {
	var err error
	request.Consultation, err = s.consultation()
	if err != nil {
		return err
	}
	request.Kinds, err = parseEnums[ententev1.RecordKind]("kind", kinds)
	if err != nil {
		return err
	}
	request.CrimeAreas, err = parseEnums[ententev1.CrimeArea]("crime area", areas)
	if err != nil {
		return err
	}
	request.Cursor, err = readCursor(cursorFile)
	return err
}

// follow prints what comes and keeps the cursor.
func (s *session) follow(ctx context.Context, request *ententev1.SubscribeRequest, cursorFile string, print func(*ententev1.StreamItem) error) error {
	err := s.reach(ctx)
	if err != nil {
		return err
	}
	for response, err := range s.client.Follow(ctx, request) {
		if err != nil {
			return err
		}
		for _, item := range response.GetItems() {
			err = print(item)
			if err != nil {
				return err
			}
		}
		// If we crash here, the lines above are printed again: better twice than never.
		err = keepCursor(cursorFile, response.GetCursor())
		if err != nil {
			return err
		}
	}
	return nil
}

// itemLine is the JSON of an item: the contract's, with the released record decoded.
type itemLine struct {
	Owner      string          `json:"owner"`
	RecordID   []byte          `json:"record_id"`
	Kind       string          `json:"kind,omitempty"`
	Record     json.RawMessage `json:"record,omitempty"`
	Withdrawal json.RawMessage `json:"withdrawal,omitempty"`
	Entry      json.RawMessage `json:"entry,omitempty"`
}

func (s *session) printItem(item *ententev1.StreamItem) error {
	record := &ententev1.ReleasedRecord{}
	err := proto.Unmarshal(item.GetReleasedRecord(), record)
	if err != nil {
		// Its owner's signed nonsense: one such record must not end the following of all others.
		fmt.Fprintf(s.env.Stderr, "record %x of %s is not readable and left out\n", item.GetRecordId(), clean(item.GetOwner()))
		return nil
	}
	if s.out.json {
		line, err := lineOf(item, record)
		if err != nil {
			return err
		}
		return s.out.value(line)
	}
	kind, content := kindOf(record.GetBody()), describe(record.GetBody())
	if item.GetWithdrawal() != nil {
		kind, content = "withdrawn", withdrawalText(item.GetWithdrawal())
	}
	return s.out.printf("%s  %s  %-14s  %s\n", clean(item.GetOwner()), hex.EncodeToString(item.GetRecordId()), kind, content)
}

func withdrawalText(w *ententev1.WithdrawalNotice) string {
	text := short(w.GetReason())
	if w.GetStillHeld() {
		text += ", still held by another release"
	}
	return text
}

func lineOf(item *ententev1.StreamItem, record *ententev1.ReleasedRecord) (itemLine, error) {
	line := itemLine{Owner: item.GetOwner(), RecordID: item.GetRecordId(), Kind: kindOf(record.GetBody())}
	var err error
	if item.GetWithdrawal() != nil {
		line.Withdrawal, err = protoJSON(item.GetWithdrawal())
	} else {
		line.Record, err = protoJSON(record)
	}
	if err != nil || item.GetEntry() == nil {
		return line, err
	}
	line.Entry, err = protoJSON(item.GetEntry())
	return line, err
}

// readCursor gives the cursor that keepCursor wrote; none where there is no file yet.
func readCursor(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, UsageErrorf("read the file of --cursor-file: %w", err)
	}
	cursor, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		return nil, UsageErrorf("%s holds no cursor; remove it to begin from the beginning", path)
	}
	return cursor, nil
}

func keepCursor(path string, cursor []byte) error {
	if path == "" || len(cursor) == 0 {
		return nil
	}
	err := replaceFile(path, []byte(base64.StdEncoding.EncodeToString(cursor)+"\n"))
	if err != nil {
		return fmt.Errorf("keep the cursor: %w", err)
	}
	return nil
}

// replaceFile replaces a file in one step, for the caller's eyes only, so that a crash leaves the old content or the new one.
func replaceFile(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // does nothing once it is renamed
	_, err = file.Write(content)
	err = firstOf(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
