package replica

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// holder is a relay that says the same again each minute, and so never ends.
type holder struct {
	again *ententev1.PullResponse
	began list[time.Time]
}

func (h *holder) Close() error { return nil }

func (h *holder) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return errors.New("it answers nothing")
}

func (h *holder) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return &heldStream{holder: h, ctx: ctx}, nil
}

type heldStream struct {
	grpc.ClientStream
	*holder
	ctx context.Context
}

func (s *heldStream) SendMsg(m any) error {
	if m.(*ententev1.PullRequest).GetOwner() != "" {
		s.began.add(time.Now())
	}
	return nil
}

func (s *heldStream) CloseSend() error { return nil }

func (s *heldStream) RecvMsg(m any) error {
	wait := time.NewTimer(time.Minute)
	defer wait.Stop()
	select {
	case <-wait.C:
		proto.Merge(m.(proto.Message), s.again)
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func TestARelayThatNeverEndsKeepsNobodyElseOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "XA", "XB", "XC")
		a, b := filled(w, "XA", "XB"), w.open("XB", clean)
		info := sharedStreams(a.ledger, "XA", "XB")[0]
		update := &ententev1.CheckpointUpdate{StreamId: info.ID[:], Checkpoint: info.Checkpoint}
		c := &holder{again: &ententev1.PullResponse{Content: &ententev1.PullResponse_Checkpoint{Checkpoint: update}}}
		r := pull(t, b, b.ledger, func(cfg *Config) {
			cfg.Dial = func(id member.ID, _ string) (Conn, error) {
				if id == "XC" {
					return c, nil
				}
				return nil, errors.New("XA is down")
			}
		})
		pass(time.Hour)
		side := r.sides["XA"]
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		leave, err := side.enter(ctx)
		if err != nil {
			t.Errorf("a file waits in vain: %v", err)
		} else {
			leave()
		}
		stop()
		if n := len(c.began.all()); n < 2 {
			t.Errorf("asked %d times within an hour: its one call never ends", n)
		}
		r.close(t)
		a.close()
		b.close()
	})
}
