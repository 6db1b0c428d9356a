package client

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

func TestARefusedCertificateIsPermanentAndSaysWhatToDo(t *testing.T) {
	own, foreign := newAuthority(t, "XA"), newAuthority(t, "XB")
	good := issue(t, own, member.KindSystem, "registry", time.Now())
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"where the node does not accept a foreign certificate", func(c *Config) {
			c.Certificate = issue(t, foreign, member.KindSystem, "registry", time.Now())
		}, "the node refused this certificate"},
		{"where the caller's certificate has expired", func(c *Config) {
			c.Certificate = issue(t, own, member.KindSystem, "registry", time.Now().Add(-3*time.Hour))
		}, "expired"},
		{"where the node's certificate is of another authority", func(c *Config) { c.Authorities = foreign.Pool() }, "the node's certificate is not accepted"},
		{"where the node is that of another member", func(c *Config) { c.Member = "XC"; c.Authorities = poolOf(own, foreign) },
			"the node's certificate is not accepted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			paused := &waits{}
			config := Config{Address: (&fakeNode{}).serve(t, own), Member: "XA", Certificate: good, Authorities: own.Pool(), Wait: paused.wait}
			test.change(&config)
			c := dial(t, config)
			_, err := c.Health(within(t), "")
			if !errors.Is(err, ErrRefused) || errors.Is(err, ErrUnreachable) {
				t.Fatalf("want ErrRefused, got %v", err)
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "check that") {
				t.Errorf("the error does not say why, or what to do: %v", err)
			}
			err = pushAll(t, c.Push(within(t), PushOptions{}, (&verdicts{}).take), names(1))
			if !errors.Is(err, ErrRefused) || paused.count() != 0 {
				t.Errorf("a push was tried again %d times: %v", paused.count(), err)
			}
		})
	}
}

func TestAGoodCertificateIsTaken(t *testing.T) { // the control of the test above
	c, _ := (&fakeNode{}).connect(t)
	state, err := c.Health(within(t), "")
	if err != nil || state != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("state %v, error %v", state, err)
	}
	state, err = c.Health(within(t), "no.such.Service")
	if err != nil || state != healthv1.HealthCheckResponse_SERVICE_UNKNOWN {
		t.Fatalf("state %v, error %v", state, err)
	}
}

func TestAnUnreachableNodeIsGivenUpAfterGrowingPauses(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	listener.Close()
	c, paused := (&fakeNode{}).connect(t, func(c *Config) { c.Address, c.GiveUpAfter = nobody, 5 })
	_, err = c.Health(within(t), "")
	if !errors.Is(err, ErrUnreachable) {
		t.Fatalf("want ErrUnreachable, got %v", err)
	}
	err = pushAll(t, c.Push(within(t), PushOptions{}, (&verdicts{}).take), names(1))
	if !errors.Is(err, ErrUnreachable) {
		t.Fatalf("want ErrUnreachable, got %v", err)
	}
	want := fmt.Sprint([]time.Duration{150 * time.Millisecond, 300 * time.Millisecond, 600 * time.Millisecond, 1200 * time.Millisecond})
	if fmt.Sprint(paused.pauses) != want {
		t.Errorf("pauses %v, want %v", paused.pauses, want)
	}
}

func TestPausesGrowToABoundAndAreSpread(t *testing.T) {
	for _, test := range []struct {
		failures int
		random   float64
		want     time.Duration
	}{
		{0, 0, 100 * time.Millisecond},
		{0, 0.5, 150 * time.Millisecond},
		{3, 0, 800 * time.Millisecond},
		{9, 0, 5 * time.Second},
		{1000, 0, 5 * time.Second},
	} {
		if got := pauseAfter(test.failures, test.random); got != test.want {
			t.Errorf("after %d failures with %v: %v, want %v", test.failures, test.random, got, test.want)
		}
	}
}

func TestErrorsCarryCodeAndFieldsAtFault(t *testing.T) {
	bad, err := status.New(codes.InvalidArgument, "the request breaks a rule").WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "consultation.purpose", Description: "is required"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	node := &fakeNode{list: func(*ententev1.ListRequest) (*ententev1.ListResponse, error) { return nil, bad.Err() }}
	c, _ := node.connect(t)
	for _, err := range c.List(within(t), &ententev1.ListRequest{}) {
		failure := new(Error)
		if !errors.As(err, &failure) || failure.Code != codes.InvalidArgument || status.Code(err) != codes.InvalidArgument {
			t.Fatalf("want InvalidArgument, got %v", err)
		}
		if err.Error() != "list records: the request breaks a rule; consultation.purpose: is required" {
			t.Errorf("text %q", err)
		}
	}
}

func TestListGoesThroughAllPages(t *testing.T) {
	node := &fakeNode{list: func(r *ententev1.ListRequest) (*ententev1.ListResponse, error) {
		page := byte(0)
		if len(r.GetPageToken()) > 0 {
			page = r.GetPageToken()[0]
		}
		response := &ententev1.ListResponse{Records: []*ententev1.HeldRecord{{RecordId: []byte{page}}, {RecordId: []byte{page}}}}
		if page < 3 {
			response.NextPageToken = []byte{page + 1}
		}
		return response, nil
	}}
	c, _ := node.connect(t)
	count := 0
	for record, err := range c.List(within(t), &ententev1.ListRequest{}) {
		if err != nil || int(record.GetRecordId()[0]) != count/2 {
			t.Fatalf("record %d is %v, %v", count, record.GetRecordId(), err)
		}
		count++
	}
	if count != 8 {
		t.Errorf("%d records, want 8", count)
	}
	for range c.List(within(t), &ententev1.ListRequest{}) {
		break // asks for no further page and does not panic
	}
}

func TestListEndsWhereAPageTokenComesTwice(t *testing.T) {
	node := &fakeNode{list: func(*ententev1.ListRequest) (*ententev1.ListResponse, error) {
		return &ententev1.ListResponse{NextPageToken: []byte{1}}, nil
	}}
	c, _ := node.connect(t)
	var last error
	for _, err := range c.List(within(t), &ententev1.ListRequest{}) {
		last = err
	}
	if last == nil {
		t.Error("the list went on for ever, or ended as if it were whole")
	}
}

func TestReleaseGoesInPartsAndKeepsOrder(t *testing.T) {
	var sizes []int
	node := &fakeNode{release: func(r *ententev1.ReleaseRequest) (*ententev1.ReleaseResponse, error) {
		sizes = append(sizes, len(r.GetProviderReferences()))
		response := &ententev1.ReleaseResponse{}
		for _, reference := range r.GetProviderReferences() {
			response.Verdicts = append(response.Verdicts, &ententev1.Verdict{ProviderReference: reference})
		}
		return response, nil
	}}
	c, _ := node.connect(t)
	references := names(2300)
	got, err := c.Release(within(t), references, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if v.GetProviderReference() != references[i] {
			t.Fatalf("verdict %d is of another record", i)
		}
	}
	if len(got) != 2300 || fmt.Sprint(sizes) != "[1000 1000 300]" {
		t.Errorf("%d verdicts, parts %v", len(got), sizes)
	}
}

func TestViewIsWholeAndOfOneState(t *testing.T) {
	page := func(hash byte, token string, entities uint64) *ententev1.GetViewResponse {
		return &ententev1.GetViewResponse{
			View:     &ententev1.ViewInfo{Hash: []byte{hash}, EntityCount: entities},
			Entities: []*ententev1.ViewEntity{{EntityId: []byte{hash}}}, NextPageToken: []byte(token),
		}
	}
	gone := status.Error(codes.FailedPrecondition, "the view has changed")
	type answer struct {
		page *ententev1.GetViewResponse
		err  error
	}
	for _, test := range []struct {
		name    string
		answers []answer
		want    int // entities; -1: an error
	}{
		{"over two pages", []answer{{page(1, "a", 2), nil}, {page(1, "", 2), nil}}, 2},
		{"begun anew where the node no longer keeps it", []answer{{page(1, "a", 2), nil}, {nil, gone}, {page(2, "", 1), nil}}, 1},
		{"begun anew where pages differ", []answer{{page(1, "a", 2), nil}, {page(2, "", 2), nil}, {page(3, "", 1), nil}}, 1},
		{"given up after five states", []answer{{nil, gone}, {nil, gone}, {nil, gone}, {nil, gone}, {nil, gone}}, -1},
		{"refused where a part is missing", []answer{{page(1, "", 2), nil}}, -1},
		{"ended by another error at once", []answer{{nil, status.Error(codes.PermissionDenied, "no")}}, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			calls := 0
			node := &fakeNode{view: func(*ententev1.GetViewRequest) (*ententev1.GetViewResponse, error) {
				calls++
				return test.answers[calls-1].page, test.answers[calls-1].err
			}}
			c, _ := node.connect(t)
			view, err := c.View(within(t), &ententev1.Consultation{})
			if calls != len(test.answers) {
				t.Errorf("%d calls, want %d", calls, len(test.answers))
			}
			if test.want < 0 {
				if err == nil {
					t.Error("want an error")
				}
				return
			}
			if err != nil || len(view.Entities) != test.want {
				t.Errorf("%v, %v", view, err)
			}
		})
	}
}

func TestLoadConfigReadsFilesAndARenewedCertificate(t *testing.T) {
	authority, folder := newAuthority(t, "XA"), t.TempDir()
	files := Files{filepath.Join(folder, "c.pem"), filepath.Join(folder, "k.pem"), filepath.Join(folder, "a.pem")}
	write := func(name string, at time.Time) {
		certificate, key, err := authority.Issue(member.Identity{Member: "XA", Kind: member.KindSystem, Name: name}, rand.Reader, at, time.Hour, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(os.WriteFile(files.Certificate, certificate, 0o600), os.WriteFile(files.Key, key, 0o600),
			os.WriteFile(files.Authorities, member.EncodeCertificate(authority.Certificate()), 0o600))
		if err != nil {
			t.Fatal(err)
		}
	}
	write("registry", time.Now().Add(-3*time.Hour))
	config, err := LoadConfig((&fakeNode{}).serve(t, authority), "XA", files)
	if err != nil {
		t.Fatal(err)
	}
	_, err = dial(t, config).Health(within(t), "")
	if !errors.Is(err, ErrRefused) {
		t.Fatalf("want the expired certificate refused, got %v", err)
	}
	write("registry", time.Now())
	_, err = dial(t, config).Health(within(t), "") // the same Config
	if err != nil {
		t.Fatalf("the renewed certificate was not read: %v", err)
	}
}

func TestConfigurationMistakesFailBeforeAnyCall(t *testing.T) {
	authority := newAuthority(t, "XA")
	good := Config{Address: "127.0.0.1:1", Member: "XA", Certificate: issue(t, authority, member.KindSystem, "s", time.Now()), Authorities: authority.Pool()}
	for name, change := range map[string]func(*Config){
		"an address without port": func(c *Config) { c.Address = "node" },
		"no member":               func(c *Config) { c.Member = "" },
		"no certificate":          func(c *Config) { c.Certificate = nil },
		"no authorities":          func(c *Config) { c.Authorities = nil },
	} {
		config := good
		change(&config)
		_, err := Dial(config)
		if err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	_, err := LoadConfig("127.0.0.1:1", "XA", Files{"missing", "missing", "missing"})
	if err == nil {
		t.Error("missing files were taken")
	}
}
