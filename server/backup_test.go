package server_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
)

// keeper is a maintenance of a data file of 1,000 bytes and 1,000 values.
type keeper struct {
	mu     sync.Mutex // covers named
	named  string
	wait   chan struct{} // if given: the work goes on until the caller gives up, and closes it
	failed error
}

func (k *keeper) Backup(ctx context.Context, name string, progress func(written, total uint64)) (*ententev1.BackupResult, error) {
	k.mu.Lock()
	k.named = name
	k.mu.Unlock()
	err := k.work(ctx, func(i uint64) { progress(i, 1000) })
	if err != nil {
		return nil, err
	}
	return &ententev1.BackupResult{Path: "/srv/" + name, Sha256: []byte{1}, TakenAt: timestamppb.Now(), Values: 7}, nil
}

func (k *keeper) Reseal(ctx context.Context, progress func(done, total, resealed uint64)) error {
	return k.work(ctx, func(i uint64) { progress(i, 1000, i/2) })
}

func (k *keeper) Compact(ctx context.Context, progress func(done, total uint64)) (*ententev1.CompactResult, error) {
	err := k.work(ctx, func(i uint64) { progress(i, 1000) })
	if err != nil {
		return nil, err
	}
	return &ententev1.CompactResult{BytesBefore: 9, BytesAfter: 5, Values: 7}, nil
}

func (k *keeper) Erased() (uint64, time.Time) { return 3, time.Unix(1_800_000_000, 0) }

func (k *keeper) work(ctx context.Context, step func(uint64)) error {
	if k.failed != nil {
		return k.failed
	}
	for i := range uint64(1001) {
		step(i)
	}
	if k.wait == nil {
		return nil
	}
	<-ctx.Done()
	close(k.wait)
	return ctx.Err()
}

// received is all that a stream brings, and how it ends.
func received[T any](stream grpc.ServerStreamingClient[T], err error) (all []*T, end error) {
	for err == nil {
		var one *T
		one, err = stream.Recv()
		if err == nil {
			all = append(all, one)
		}
	}
	if errors.Is(err, io.EOF) {
		return all, nil
	}
	return all, err
}

func TestOperatorsHaveTheDataFileBackedUpAndSealedAnew(t *testing.T) {
	w := newWorld(t)
	k := &keeper{}
	n := w.start("XA", func(c *server.Config) { c.Maintenance = k })
	admin := ententev1.NewAdminServiceClient(n.dial(member.KindOperator, "XA", "ops"))
	t.Run("and see progress and result", func(t *testing.T) {
		all, err := received(admin.Backup(patient(t), &ententev1.BackupRequest{Name: "friday.db"}))
		w.must(err)
		last := all[len(all)-1]
		if len(all) < 2 || len(all) > 103 || last.GetResult().GetPath() != "/srv/friday.db" || last.GetTotalBytes() != 1000 || last.GetWrittenBytes() != 1000 {
			t.Errorf("%d messages, the last %v", len(all), last)
		}
		for _, one := range all[:len(all)-1] {
			if one.GetResult() != nil || one.GetTotalBytes() != 1000 {
				t.Errorf("progress %v", one)
			}
		}
	})
	t.Run("and a change of key says when it is done", func(t *testing.T) {
		all, err := received(admin.Reseal(patient(t), &ententev1.ResealRequest{}))
		w.must(err)
		last := all[len(all)-1]
		if last.GetDone() != 1000 || last.GetTotal() != 1000 || last.GetResealed() != 500 || len(all) > 103 {
			t.Errorf("%d messages, the last %v", len(all), last)
		}
	})
	t.Run("and are told why not", func(t *testing.T) {
		k.failed = status.Error(codes.AlreadyExists, "friday.db is there; give another name")
		defer func() { k.failed = nil }()
		_, err := received(admin.Backup(patient(t), &ententev1.BackupRequest{Name: "friday.db"}))
		wantCode(t, err, codes.AlreadyExists)
		if status.Convert(err).Message() != "friday.db is there; give another name" {
			t.Errorf("told %v", err)
		}
		_, err = received(admin.Backup(patient(t), &ententev1.BackupRequest{Name: string(make([]byte, 101))}))
		wantCode(t, err, codes.InvalidArgument)
	})
	t.Run("and an inner error stays inside", func(t *testing.T) {
		k.failed = errors.New("the disk says " + secret)
		defer func() { k.failed = nil }()
		_, err := received(admin.Reseal(patient(t), &ententev1.ResealRequest{}))
		wantCode(t, err, codes.Internal)
		if status.Convert(err).Message() != "internal error" {
			t.Errorf("told %v", err)
		}
	})
	t.Run("and the work ends when they give up", func(t *testing.T) {
		k.wait = make(chan struct{})
		ctx, cancel := context.WithCancel(patient(t))
		stream, err := admin.Backup(ctx, &ententev1.BackupRequest{})
		w.must(err)
		_, err = stream.Recv()
		w.must(err)
		cancel()
		select {
		case <-k.wait:
		case <-patient(t).Done():
			t.Error("the work goes on")
		}
		k.wait = nil
	})
	t.Run("and nobody else does", func(t *testing.T) {
		k.named = ""
		for _, conn := range []*grpc.ClientConn{n.system("registry"), n.officer("ann"), n.peer("XB")} {
			_, err := received(ententev1.NewAdminServiceClient(conn).Backup(patient(t), &ententev1.BackupRequest{Name: "theft.db"}))
			wantCode(t, err, codes.PermissionDenied)
			_, err = received(ententev1.NewAdminServiceClient(conn).Reseal(patient(t), &ententev1.ResealRequest{}))
			wantCode(t, err, codes.PermissionDenied)
		}
		if k.named != "" {
			t.Error("a backup was made all the same")
		}
	})
}

func TestANodeWithoutMaintenanceSaysSo(t *testing.T) {
	n := newWorld(t).start("XA")
	admin := ententev1.NewAdminServiceClient(n.dial(member.KindOperator, "XA", "ops"))
	_, err := received(admin.Backup(patient(t), &ententev1.BackupRequest{}))
	wantCode(t, err, codes.Unimplemented)
	_, err = received(admin.Reseal(patient(t), &ententev1.ResealRequest{}))
	wantCode(t, err, codes.Unimplemented)
	if status.Convert(err).Message() != "this node does not seal its data file anew" {
		t.Errorf("told %v", err)
	}
}
