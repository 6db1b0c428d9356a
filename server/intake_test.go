package server_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

func TestBadItemsAreRejectedByFieldAndTheCallGoesOn(t *testing.T) {
	w := newWorld(t)
	registry := w.start("XA").system("registry")
	changed := func(change func(*ententev1.Record), audiences ...*ententev1.Audience) *ententev1.PushItem {
		record := personRecord("bad", 1)
		change(record)
		return item(record, audiences...)
	}
	tests := []struct {
		name  string
		item  *ententev1.PushItem
		field string
	}{
		{"neither record nor withdrawal", &ententev1.PushItem{}, "record"},
		{"no envelope", changed(func(r *ententev1.Record) { r.Envelope = nil }), "envelope"},
		{"no body", changed(func(r *ententev1.Record) { r.Body = nil }), "body"},
		{"an empty body", changed(func(r *ententev1.Record) { r.Body = &ententev1.Body{} }), "body.kind"},
		{"no reference", changed(func(r *ententev1.Record) { r.Envelope.ProviderReference = "" }), "envelope.provider_reference"},
		{"a reference too long", changed(func(r *ententev1.Record) { r.Envelope.ProviderReference = strings.Repeat(secret, 40) }), "envelope.provider_reference"},
		{"version 0", changed(func(r *ententev1.Record) { r.Envelope.Version = 0 }), "envelope.version"},
		{"no purpose", changed(func(r *ententev1.Record) { r.Envelope.Purpose = 0 }), "envelope.purpose"},
		{"no retention", changed(func(r *ententev1.Record) { r.Envelope.RetainUntil = nil }), "envelope.retain_until"},
		{"no kind of assertion", changed(func(r *ententev1.Record) { r.Envelope.Assertion = 0 }), "envelope.assertion"},
		{"a provider other than the certificate's member", changed(func(r *ententev1.Record) { r.Envelope.ProviderMember = "XB" }), "envelope.provider_member"},
		{"an authority other than the caller's", changed(func(r *ententev1.Record) { r.Envelope.ProviderAuthority = "Customs" }), "envelope.provider_authority"},
		{"a code of another evaluation scheme", changed(func(r *ententev1.Record) { r.Envelope.Evaluation.SourceCode = "F" }), "envelope.evaluation.source_code"},
		{"an unknown code", changed(func(r *ententev1.Record) { r.GetBody().GetPerson().Sex = 99 }), "body.person.sex"},
		{"an unknown field", changed(func(r *ententev1.Record) {
			r.GetBody().GetPerson().ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 1))
		}), "body.person"},
		{"a record over 256 KiB", changed(func(r *ententev1.Record) {
			r.GetBody().GetPerson().Names[0].FullOriginal = strings.Repeat(secret, 25_000)
		}), "record"},
		{"a release without evaluation", changed(func(r *ententev1.Record) { r.Envelope.Evaluation = nil }, toAll()), "envelope.evaluation"},
		{"a release without handling", changed(func(r *ententev1.Record) { r.Envelope.Handling = nil }, toAll()), "envelope.handling.codes"},
		{"a release of an informant", changed(func(r *ententev1.Record) {
			r.GetBody().GetPerson().Status = ententev1.PersonStatus_PERSON_STATUS_INFORMANT
		}, toAll()), "body.person.status"},
		{"an audience that is none", person("bad", &ententev1.Audience{}), "audiences[0]"},
		{"an audience of an unknown project", person("bad", toProject("nosuch")), "audiences"},
		{"an audience of an unknown member", person("bad", toAll(), toMembers("XQ")), "audiences"},
		{"a withdrawal without reason", &ententev1.PushItem{Content: &ententev1.PushItem_Withdrawal{
			Withdrawal: &ententev1.PushWithdrawal{ProviderReference: "bad"},
		}}, "withdrawal.reason"},
		{"a withdrawal of a record that is not there", withdrawal("bad"), "provider_reference"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			good := "good for " + test.name
			verdicts := push(t, registry, test.item, person(good, toAll()))
			bad := verdicts[0]
			if bad.GetOutcome() != ententev1.Outcome_OUTCOME_REJECTED {
				t.Fatalf("want REJECTED, got %v", bad)
			}
			named := slices.ContainsFunc(bad.GetViolations(), func(v *ententev1.FieldViolation) bool {
				return v.GetField() == test.field || strings.HasPrefix(v.GetField(), test.field+"[")
			})
			if !named {
				t.Errorf("want a violation of %s, got %v", test.field, bad.GetViolations())
			}
			if strings.Contains(fmt.Sprint(bad.GetViolations()), secret) {
				t.Errorf("a value is repeated: %v", bad.GetViolations())
			}
			if verdicts[1].GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED || verdicts[1].GetProviderReference() != good {
				t.Errorf("the item after it: %v", verdicts[1])
			}
		})
	}
}

func TestPushAnswersInOrderAndKeepsTheOrderOfTheCall(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	call, err := ententev1.NewIntakeServiceClient(n.system("registry")).Push(patient(t))
	w.must(err)
	const messages = 60
	sending := make(chan error, 1)
	go func() {
		for i := range uint64(messages) {
			items := []*ententev1.PushItem{person(fmt.Sprintf("P-%d", i), toAll())}
			if i > 0 {
				items = append(items, withdrawal(fmt.Sprintf("P-%d", i-1))) // of the message just before
			}
			err := call.Send(&ententev1.PushRequest{Batch: 1000 + i, Items: items})
			if err != nil {
				sending <- err
				return
			}
		}
		sending <- call.CloseSend()
	}()
	for i := range uint64(messages) {
		response, err := call.Recv()
		w.must(err)
		if response.GetBatch() != 1000+i {
			t.Fatalf("want the answer to %d, got %d", 1000+i, response.GetBatch())
		}
		for _, verdict := range response.GetVerdicts() {
			if verdict.GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
				t.Fatalf("message %d: %v", i, verdict)
			}
		}
	}
	_, err = call.Recv()
	if !errors.Is(err, io.EOF) {
		t.Fatalf("want the end, got %v", err)
	}
	w.must(<-sending)
	again := push(t, n.system("registry"), person(fmt.Sprintf("P-%d", messages-1)))
	if again[0].GetOutcome() != ententev1.Outcome_OUTCOME_DUPLICATE {
		t.Errorf("pushed again: %v", again[0])
	}
}

func TestAMessageThatIsTooLargeEndsTheCallAndTakesNothing(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	tests := []struct {
		name  string
		items []*ententev1.PushItem
		want  codes.Code
	}{
		{"more than 1,000 items", slices.Repeat([]*ententev1.PushItem{person("P-1")}, 1001), codes.InvalidArgument},
		{"more than 4 MiB", []*ententev1.PushItem{item(func() *ententev1.Record {
			r := personRecord("P-1", 1)
			r.GetBody().GetPerson().Names[0].FullOriginal = strings.Repeat("x", 5<<20)
			return r
		}())}, codes.ResourceExhausted},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			call, err := ententev1.NewIntakeServiceClient(n.system("registry")).Push(patient(t))
			w.must(err)
			err = call.Send(&ententev1.PushRequest{Items: test.items})
			if err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			_, err = call.Recv()
			wantCode(t, err, test.want)
		})
	}
	if n.ledger.Stats().Records != 0 {
		t.Errorf("%d records were taken", n.ledger.Stats().Records)
	}
}

func TestGetReleaseAndWithdraw(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	client, customs := ententev1.NewIntakeServiceClient(n.system("registry")), ententev1.NewIntakeServiceClient(n.system("customs"))
	pushAll(t, n.system("registry"), person("P-1"))
	ctx := patient(t)

	get := &ententev1.GetRequest{Consultation: asking(), ProviderReference: "P-1"}
	held, err := client.Get(ctx, get)
	w.must(err)
	if held.GetRecord().GetAuthority() != "Police" || len(held.GetRecord().GetDeliveries()) != 0 {
		t.Errorf("after the push: %v", held.GetRecord())
	}
	released, err := client.Release(ctx, &ententev1.ReleaseRequest{
		ProviderReferences: []string{"P-1", "nosuch"}, Audiences: []*ententev1.Audience{toMembers("XB")},
	})
	w.must(err)
	if released.GetVerdicts()[0].GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED ||
		released.GetVerdicts()[1].GetOutcome() != ententev1.Outcome_OUTCOME_REJECTED {
		t.Errorf("released: %v", released)
	}
	held, err = client.Get(ctx, &ententev1.GetRequest{Consultation: asking(), RecordId: held.GetRecord().GetRecordId()})
	w.must(err)
	if len(held.GetRecord().GetDeliveries()) != 1 || held.GetRecord().GetDeliveries()[0].GetMember() != "XB" {
		t.Errorf("after the release: %v", held.GetRecord().GetDeliveries())
	}
	withdrawn, err := client.Withdraw(ctx, &ententev1.WithdrawRequest{
		ProviderReferences: []string{"P-1"}, Reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_INACCURATE,
	})
	w.must(err)
	if withdrawn.GetVerdicts()[0].GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
		t.Errorf("withdrawn: %v", withdrawn)
	}

	// What belongs to another authority of the member, and what does not exist, are the same bytes.
	_, absent := client.Get(ctx, &ententev1.GetRequest{Consultation: asking(), RecordId: make([]byte, 16)})
	_, foreign := customs.Get(ctx, &ententev1.GetRequest{Consultation: asking(), RecordId: held.GetRecord().GetRecordId()})
	wantCode(t, absent, codes.NotFound)
	if absent.Error() != foreign.Error() {
		t.Errorf("absent is %q, forbidden is %q", absent, foreign)
	}
}

func TestUnaryRequestsThatBreakTheContractAreRefusedByField(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	client := ententev1.NewIntakeServiceClient(n.system("registry"))
	ctx := patient(t)
	tests := []struct {
		name string
		call func() error
	}{
		{"no consultation", func() error {
			_, err := client.Get(ctx, &ententev1.GetRequest{ProviderReference: "P-1"})
			return err
		}},
		{"no purpose", func() error {
			_, err := client.Get(ctx, &ententev1.GetRequest{Consultation: &ententev1.Consultation{CaseReference: secret}, ProviderReference: "P-1"})
			return err
		}},
		{"no case reference", func() error {
			c := asking()
			c.CaseReference = ""
			_, err := client.List(ctx, &ententev1.ListRequest{Consultation: c})
			return err
		}},
		{"neither reference nor id", func() error {
			_, err := client.Get(ctx, &ententev1.GetRequest{Consultation: asking()})
			return err
		}},
		{"a release before nobody", func() error {
			_, err := client.Release(ctx, &ententev1.ReleaseRequest{ProviderReferences: []string{"P-1"}})
			return err
		}},
		{"a withdrawal without reason", func() error {
			_, err := client.Withdraw(ctx, &ententev1.WithdrawRequest{ProviderReferences: []string{secret}})
			return err
		}},
		{"a withdrawal of nothing", func() error {
			_, err := client.Withdraw(ctx, &ententev1.WithdrawRequest{Reason: 1})
			return err
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.call()
			wantCode(t, err, codes.InvalidArgument)
			if len(status.Convert(err).Details()) == 0 {
				t.Error("no field is named")
			}
			if strings.Contains(fmt.Sprint(status.Convert(err).Proto()), secret) {
				t.Error("a value is repeated")
			}
		})
	}
}

func TestListPagesAreGoodForTheirCallerAndQuestionOnly(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	w.change(func() {
		other := w.grants.Systems["registry"]
		w.grants.Systems["archive"] = other // the same authority, another identity
	})
	client := ententev1.NewIntakeServiceClient(n.system("registry"))
	for i := range 5 {
		pushAll(t, n.system("registry"), person(fmt.Sprintf("P-%d", i)))
	}
	pushAll(t, n.system("customs"), person("C-1"))
	ctx := patient(t)
	var seen []string
	request := &ententev1.ListRequest{Consultation: asking(), PageSize: 2}
	var first []byte
	for {
		page, err := client.List(ctx, request)
		w.must(err)
		for _, held := range page.GetRecords() {
			seen = append(seen, held.GetRecord().GetEnvelope().GetProviderReference())
		}
		if len(page.GetNextPageToken()) == 0 {
			break
		}
		request.PageToken = page.GetNextPageToken()
		first = append(first, request.PageToken...)[:len(request.PageToken)]
	}
	if got := strings.Join(seen, " "); got != "P-0 P-1 P-2 P-3 P-4" {
		t.Errorf("listed %s", got)
	}
	archive := ententev1.NewIntakeServiceClient(n.system("archive"))
	_, err := archive.List(ctx, &ententev1.ListRequest{Consultation: asking(), PageSize: 2, PageToken: first})
	wantCode(t, err, codes.InvalidArgument)
	_, err = client.List(ctx, &ententev1.ListRequest{Consultation: asking(), Kinds: []ententev1.RecordKind{1}, PageToken: first})
	wantCode(t, err, codes.InvalidArgument)
	_, err = client.List(ctx, &ententev1.ListRequest{Consultation: asking(), PageToken: []byte("made up")})
	wantCode(t, err, codes.InvalidArgument)
}

func TestASystemThatIsNotGrantedPushesNothing(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	for _, name := range []string{"team", "unknown"} {
		call, err := ententev1.NewIntakeServiceClient(n.system(name)).Push(patient(t))
		w.must(err)
		_, err = call.Recv()
		wantCode(t, err, codes.PermissionDenied)
	}
	_, err := ententev1.NewIntakeServiceClient(n.dial(member.KindOfficer, "XA", "ann")).Release(patient(t), &ententev1.ReleaseRequest{})
	wantCode(t, err, codes.PermissionDenied)
}
