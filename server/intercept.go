package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// logged writes the one line of a call. The text of an error that a caller is told is fixed and not needed; the cause
// of an internal error is, and holds ids and paths only.
func (s *Server) logged(ctx context.Context, method string, began time.Time, err error) {
	c := callerOf(ctx)
	code := status.Code(err)
	fields := []slog.Attr{
		slog.String("method", method), slog.String("code", code.String()),
		slog.String("member", string(c.Member)), slog.String("caller", c.Kind.String()),
		slog.Duration("took", s.cfg.Now().Sub(began)),
	}
	level := slog.LevelDebug
	if code == codes.Internal || code == codes.Unknown || code == codes.DataLoss {
		level = slog.LevelError
		internal, ok := errors.AsType[*internalError](err)
		if ok {
			fields = append(fields, slog.String("cause", internal.cause.Error()))
		}
	}
	s.cfg.Logger.LogAttrs(ctx, level, "call", fields...)
}

func (s *Server) logUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	began := s.cfg.Now()
	c, err := identify(ctx)
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, callerKey{}, c)
	response, err := handler(ctx, request)
	if writes(info.FullMethod) {
		s.health.wrote(err)
	}
	err = tell(err)
	s.logged(ctx, info.FullMethod, began, err)
	return response, err
}

// writes says whether an answer to this short call means that something was written. Push notes that message by message.
func writes(method string) bool {
	switch method {
	case ententev1.IntakeService_Release_FullMethodName, ententev1.IntakeService_Withdraw_FullMethodName,
		ententev1.IntakeService_DecideRelease_FullMethodName, ententev1.IntakeService_Restrict_FullMethodName,
		ententev1.IntakeService_Hold_FullMethodName, ententev1.IntakeService_Renew_FullMethodName, ententev1.IntakeService_Permit_FullMethodName,
		ententev1.IntakeService_GrantStream_FullMethodName, ententev1.ExchangeService_SubmitReceipts_FullMethodName:
		return true
	}
	return false
}

func (s *Server) logStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	began := s.cfg.Now()
	c, err := identify(stream.Context())
	if err != nil {
		return err
	}
	ctx := context.WithValue(stream.Context(), callerKey{}, c)
	err = tell(handler(srv, &streamWith{ServerStream: stream, ctx: ctx}))
	s.logged(ctx, info.FullMethod, began, err)
	return err
}

// streamWith is a stream with a context of ours. It keeps the first message that comes, for the trail of a call that brings
// its caller nothing.
type streamWith struct {
	grpc.ServerStream
	ctx   context.Context
	first any
}

// RecvMsg receives a message.
func (s *streamWith) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil && s.first == nil {
		s.first = m
	}
	return err
}

// Context is the call's context, with the caller, ended when the call is decided against.
func (s *streamWith) Context() context.Context { return s.ctx }

// admitUnary lets a call in if its caller may make it, and gives it a deadline.
func (s *Server) admitUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	err := s.decide(info.FullMethod, callerOf(ctx))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, unaryDeadline)
	defer cancel()
	ctx, call := withCallTrail(ctx)
	response, err := handler(ctx, request)
	err = s.traceRefused(ctx, call, info.FullMethod, request, err)
	if err != nil {
		return nil, err
	}
	return response, nil
}

// admitStream lets a stream in and keeps it in the registry, so that it ends when its caller loses the right to it. The
// handler runs in a goroutine of its own: one that hangs in a send to a caller that does not read is cut all the same
// (the send fails when this function returns).
func (s *Server) admitStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	c := callerOf(stream.Context())
	err := s.decide(info.FullMethod, c)
	if err != nil {
		return err
	}
	ctx, done, err := s.calls.add(stream.Context(), info.FullMethod, c, s.gate.openStreams(c.Identity))
	if err != nil {
		return err
	}
	defer done()
	ctx, call := withCallTrail(ctx)
	asked := &streamWith{ServerStream: stream, ctx: ctx}
	result := make(chan error, 1)
	go func() { // ends when the handler ends, at the latest when the stream fails after our return
		err := handler(srv, asked)
		result <- s.traceRefused(ctx, call, info.FullMethod, asked.first, err)
	}()
	select {
	case err = <-result:
		return err
	case <-ctx.Done():
	}
	patience := time.NewTimer(cutPatience)
	defer patience.Stop()
	select {
	case err = <-result:
		return err
	case <-patience.C:
		return ended(ctx)
	}
}

// recovered is what a panic becomes. What was thrown may hold anything, so only its type is kept.
func (s *Server) recovered(_ context.Context, thrown any) error {
	return &internalError{fmt.Errorf("a handler panicked with a %T", thrown)}
}

func (s *Server) validateUnary(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	err := s.validateRequest(request)
	if err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

func (s *Server) validateStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, &validatedStream{ServerStream: stream, server: s})
}

// validatedStream checks each message as it comes.
type validatedStream struct {
	grpc.ServerStream
	server *Server
}

// RecvMsg receives one message that keeps the contract's field rules. Those of pushed items are checked item by item by
// the intake, so that one bad item is a verdict and not a failed call.
func (s *validatedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err != nil {
		return err
	}
	_, pushed := m.(*ententev1.PushRequest)
	if pushed {
		return nil
	}
	return s.server.validateRequest(m)
}

func (s *Server) validateRequest(request any) error {
	m, ok := request.(proto.Message)
	if !ok {
		return nil
	}
	violations, err := s.violations(m)
	if err != nil {
		return err
	}
	if len(violations) > 0 {
		return invalid(violations)
	}
	return nil
}

// violations are the field rules of the contract that a message breaks, without values.
func (s *Server) violations(m proto.Message) ([]*ententev1.FieldViolation, error) {
	if s.soundness.sure(m) {
		return nil, nil
	}
	err := s.validator.Validate(m)
	if err == nil {
		return nil, nil
	}
	broken, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return nil, fmt.Errorf("check the field rules of %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	var list []*ententev1.FieldViolation
	for _, v := range broken.Violations {
		list = append(list, &ententev1.FieldViolation{
			Field: protovalidate.FieldPathString(v.Proto.GetField()), Reason: v.Proto.GetMessage(),
		})
	}
	return list, nil
}
