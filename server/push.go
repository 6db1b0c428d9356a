package server

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
)

const (
	// maxPushItems is how many items one message may hold.
	maxPushItems = 1000
	// maxRecordBytes is how large a record may be, encoded.
	maxRecordBytes = 256 << 10
	// maxAudiences is how many audiences an item may name.
	maxAudiences = 64
	// pushWindow is how many messages of one call may be with the ledger while those before them are written.
	pushWindow = 16
)

// pushed is one message of items, checked: verdicts of those that were refused at the edge, the rest with the ledger.
type pushed struct {
	batch    uint64
	verdicts []*ententev1.Verdict // one an item; nil where the ledger's is still to come
	items    []ledger.Item        // the items without verdict, in order
	wait     func(context.Context) ([]*ententev1.Verdict, error)
}

// Push takes messages of items and answers each, in order. Two things go on at once: messages are received, checked and put
// in the ledger's queue, and the ledger's verdicts are waited for and sent; so one message is worked out while another is
// on its way to the disk, and one transaction carries messages of several calls. The order of the call is kept all the way:
// a withdrawal never overtakes the record before it.
//
// If we crash here, what has no verdict may be on disk or not; pushed again it is a DUPLICATE or taken.
func (s *intake) Push(stream pushStream) error {
	ctx := stream.Context()
	authority, err := s.authority(ctx)
	if err != nil {
		return err
	}
	window := make(chan *pushed, pushWindow)
	ending := make(chan error, 1)
	go func() { // ends with the client's last message, or when the stream fails after our return
		defer close(window)
		ending <- s.receive(stream, authority, window)
	}()
	for {
		select {
		case message, more := <-window:
			if !more && ctx.Err() != nil {
				return ended(ctx)
			}
			if !more {
				return <-ending
			}
			err = s.answer(stream, message)
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return s.leave(stream, window)
		}
	}
}

// leave ends a call that is not to go on. Where that is because the node stops, what the ledger has taken is answered first, so
// that its caller need not push it again. To a caller that lost the right to call nothing more is said.
func (s *intake) leave(stream pushStream, window <-chan *pushed) error {
	for errors.Is(context.Cause(stream.Context()), errStopping) {
		select {
		case message, more := <-window:
			if !more {
				return errStopping
			}
			err := s.answer(stream, message)
			if err != nil {
				return err
			}
		default:
			return errStopping
		}
	}
	return ended(stream.Context())
}

// receive reads, checks and enqueues messages until the client is done (nil) or something is wrong.
func (s *intake) receive(stream pushStream, authority string, window chan<- *pushed) (err error) {
	defer func() { // this goroutine is outside the recovery of the call
		thrown := recover()
		if thrown != nil {
			err = s.recovered(stream.Context(), thrown)
		}
	}()
	ctx := stream.Context()
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(request.GetItems()) > maxPushItems {
			return invalidField("items", "are at most 1,000 in a message")
		}
		now, err := s.authority(ctx)
		if err != nil || now != authority {
			return errGrantChanged
		}
		asked := request.GetConsultation()
		if asked != nil {
			err = s.cfg.Grants().MayAsk(callerOf(ctx).Identity, asked)
			if err != nil {
				return err
			}
		}
		began := s.cfg.Now()
		message, err := s.checkPush(request, authority)
		if err != nil {
			return err
		}
		s.worked(callerOf(ctx).Identity, began)
		if len(message.items) > 0 {
			// What was received is finished even if the call ends meanwhile; the ledger ends it when it stops.
			message.wait = s.cfg.Ledger.Enqueue(s.acting(context.WithoutCancel(ctx), asked), authority, message.items)
		}
		select {
		case window <- message:
		case <-ctx.Done():
			return ended(ctx)
		}
	}
}

// answer waits for the verdicts of a message and sends them.
func (s *intake) answer(stream pushStream, message *pushed) error {
	var verdicts []*ententev1.Verdict
	if message.wait != nil {
		var err error
		verdicts, err = message.wait(context.WithoutCancel(stream.Context()))
		s.health.wrote(err)
		if err != nil {
			return err
		}
	}
	if len(verdicts) != len(message.items) {
		return fmt.Errorf("push %d items: the ledger answered %d verdicts", len(message.items), len(verdicts))
	}
	for i, verdict := range message.verdicts {
		if verdict == nil {
			message.verdicts[i], verdicts = verdicts[0], verdicts[1:]
		}
	}
	cleared, ok := policy.ClearOwn(callerOf(stream.Context()).Identity, s.cfg.Self,
		&ententev1.PushResponse{Batch: message.batch, Verdicts: message.verdicts})
	verdictsTold, err := answer(stream.Context(), s.Server, cleared, ok, untold("verdicts: the ledger has put what was taken into the trail"))
	if err != nil {
		return err
	}
	return stream.Send(verdictsTold)
}

// checkPush checks each item by itself.
func (s *intake) checkPush(request *ententev1.PushRequest, authority string) (*pushed, error) {
	message := &pushed{
		batch:    request.GetBatch(),
		verdicts: make([]*ententev1.Verdict, len(request.GetItems())),
		items:    make([]ledger.Item, 0, len(request.GetItems())),
	}
	for i, item := range request.GetItems() {
		violations, err := s.checkItem(item, authority)
		if err != nil {
			return nil, err
		}
		if len(violations) > 0 {
			message.verdicts[i] = rejected(item, violations)
			continue
		}
		message.items = append(message.items, ledger.Item{
			Record: item.GetRecord(), Withdrawal: item.GetWithdrawal(),
			Audiences: item.GetAudiences(), ReplaceAudiences: item.GetReplaceAudiences(),
		})
	}
	return message, nil
}

func rejected(item *ententev1.PushItem, violations []*ententev1.FieldViolation) *ententev1.Verdict {
	verdict := &ententev1.Verdict{Outcome: ententev1.Outcome_OUTCOME_REJECTED, Violations: violations}
	switch content := item.GetContent().(type) {
	case *ententev1.PushItem_Record:
		verdict.ProviderReference = content.Record.GetEnvelope().GetProviderReference()
		verdict.Version = content.Record.GetEnvelope().GetVersion()
	case *ententev1.PushItem_Withdrawal:
		verdict.ProviderReference = content.Withdrawal.GetProviderReference()
		verdict.Version = content.Withdrawal.GetVersion()
	}
	if !policy.ValidReference(verdict.GetProviderReference()) {
		verdict.ProviderReference = "" // a megabyte is not sent back
	}
	return verdict
}

// checkItem says what is wrong with an item: its form here, the rest in the ledger, by policy.CheckRecord. Paths are
// relative to the record.
func (s *intake) checkItem(item *ententev1.PushItem, authority string) ([]*ententev1.FieldViolation, error) {
	if len(item.GetAudiences()) > maxAudiences {
		return violation("audiences", "are at most 64"), nil
	}
	for i, audience := range item.GetAudiences() {
		violations, err := s.violations(audience)
		if err != nil {
			return nil, err
		}
		if len(violations) > 0 {
			return under(fmt.Sprintf("audiences[%d]", i), violations), nil
		}
	}
	violations := policy.CheckAudiences(item.GetAudiences())
	if len(violations) > 0 {
		return violations, nil
	}
	switch content := item.GetContent().(type) {
	case *ententev1.PushItem_Record:
		return s.checkRecord(content.Record, authority)
	case *ententev1.PushItem_Withdrawal:
		return policy.CheckPushedWithdrawal(content.Withdrawal), nil
	default:
		return violation("record", "is missing, and so is withdrawal"), nil
	}
}

func (s *intake) checkRecord(record *ententev1.Record, authority string) ([]*ententev1.FieldViolation, error) {
	if proto.Size(record) > maxRecordBytes {
		return violation("record", "is larger than 256 KiB"), nil
	}
	violations, err := s.violations(record)
	if err != nil {
		return nil, err
	}
	envelope := record.GetEnvelope()
	if envelope.GetProviderMember() != "" && envelope.GetProviderMember() != string(s.cfg.Self) {
		violations = append(violations, violation("envelope.provider_member", "is not the member that the certificate names")...)
	}
	if envelope.GetProviderAuthority() != "" && envelope.GetProviderAuthority() != authority {
		violations = append(violations, violation("envelope.provider_authority", "is not the authority that the caller acts for")...)
	}
	return violations, nil
}

func violation(field, reason string) []*ententev1.FieldViolation {
	return []*ententev1.FieldViolation{{Field: field, Reason: reason}}
}

func under(parent string, violations []*ententev1.FieldViolation) []*ententev1.FieldViolation {
	for _, v := range violations {
		if v.GetField() == "" {
			v.Field = parent
			continue
		}
		v.Field = parent + "." + v.GetField()
	}
	return violations
}
