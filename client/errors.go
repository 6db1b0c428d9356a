package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
)

var (
	// ErrRefused says that one side refused the other's certificate: a foreign, expired or revoked one. Trying again does not
	// help: see the text.
	ErrRefused = errors.New("the connection is refused for its certificate")
	// ErrUnreachable says that the node could not be reached or went away. Trying again may help.
	ErrUnreachable = errors.New("the node is not reachable")
)

const (
	// refusedByUs marks a handshake that this side ended. gRPC hands the error of a handshake on as text only.
	refusedByUs = "the node's certificate is not accepted: "
	// remoteAlert begins the text that crypto/tls gives an alert of the other side. Under TLS 1.3 the refusal of a client's
	// certificate arrives after the handshake, as a failed read.
	remoteAlert = "remote error: tls: "
	// noConnectionInTime stands in the text of a call whose deadline passed while it waited for a connection.
	noConnectionInTime = "waiting for new LB policy update"
	// longestAsked bounds how long a node can make a caller wait.
	longestAsked = time.Hour
)

// Error is a failed call. errors.Is tells ErrRefused and ErrUnreachable; everything else is told by Code.
type Error struct {
	// Doing is what was attempted.
	Doing string
	// Code is gRPC's.
	Code codes.Code
	// Reason is the node's text, or says what to do.
	Reason string
	// Violations are the fields at fault, where the node names them.
	Violations []*ententev1.FieldViolation
	// RetryAfter is how long the node asks to wait before the next attempt, at most an hour; 0: it does not say.
	RetryAfter time.Duration
	// Limit is the limit that the caller is over, by the name that it has in the node's configuration; empty: none.
	Limit string

	kind  error // ErrRefused, ErrUnreachable or nil
	cause error
}

// Error names what was attempted, why it failed, and the fields at fault.
func (e *Error) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %s", e.Doing, e.Reason)
	for _, v := range e.Violations {
		fmt.Fprintf(&text, "; %s: %s", v.GetField(), v.GetReason())
	}
	return text.String()
}

// Unwrap gives the kind of failure and what gRPC said.
func (e *Error) Unwrap() []error {
	if e.kind == nil {
		return []error{e.cause}
	}
	return []error{e.kind, e.cause}
}

// GRPCStatus lets status.Code and status.FromError read the error.
func (e *Error) GRPCStatus() *status.Status { return status.Convert(e.cause) }

// failed turns what a call returned into an *Error; nil stays nil.
func failed(doing string, err error) error {
	if err == nil {
		return nil
	}
	known := new(Error)
	if errors.As(err, &known) {
		return err
	}
	state := status.Convert(err)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		state = status.FromContextError(err)
	}
	message := printable(state.Message())
	e := &Error{Doing: doing, Code: state.Code(), Reason: message, cause: err}
	switch {
	case isRefusal(state):
		e.kind = ErrRefused
		e.Reason = refusalAdvice(message)
	case state.Code() == codes.Unauthenticated:
		e.kind = ErrRefused
		e.Reason = "the node does not accept this certificate (" + message + "); a new one is needed"
	case state.Code() == codes.Unavailable:
		e.kind = ErrUnreachable
		e.Reason = "the node is not reachable (" + message + "); check its address and whether it runs"
	case state.Code() == codes.DeadlineExceeded && strings.Contains(state.Message(), noConnectionInTime):
		e.kind = ErrUnreachable
		e.Reason = "the node could not be reached in time; check its address and whether it runs"
	case state.Code() == codes.DeadlineExceeded:
		e.Reason = "there was no answer in time"
	case state.Code() == codes.Unimplemented:
		e.Reason = "the node does not offer this: " + message
	}
	e.readDetails(state)
	if e.Code == codes.ResourceExhausted && e.RetryAfter > 0 {
		e.Reason = fmt.Sprintf("%s; the node asks to wait %s", message, e.RetryAfter.Round(time.Millisecond))
	}
	return e
}

// printable makes the other side's text harmless on a terminal and in a log. A node passes on some of what another member's
// node says, so not even the own node's text is to be trusted.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return ' '
	}, text)
}

// isRefusal tells the refusal of a certificate from a network that is down: gRPC reports both as Unavailable.
func isRefusal(state *status.Status) bool {
	if state.Code() != codes.Unavailable {
		return false
	}
	text := state.Message()
	if strings.Contains(text, refusedByUs) {
		return true
	}
	_, alert, found := strings.Cut(text, remoteAlert)
	// "internal error" is a node that cannot decide at the moment, for example without a valid roster.
	return found && !strings.HasPrefix(alert, "internal error") && !strings.HasPrefix(alert, "user canceled")
}

func refusalAdvice(text string) string {
	_, ours, found := strings.Cut(text, refusedByUs)
	if found {
		return refusedByUs + strings.TrimSuffix(ours, `"`) +
			"; check that address and member name the own member's node and that the authorities file is that member's"
	}
	_, alert, _ := strings.Cut(text, remoteAlert)
	return "the node refused this certificate (tls: " + strings.TrimSuffix(alert, `"`) +
		"); check that it has not expired or been revoked, was issued by the own member's authority and belongs to the key; a new one is needed otherwise"
}

// readDetails reads what the node says beyond code and text: fields at fault, a limit, how long to wait.
func (e *Error) readDetails(state *status.Status) {
	for _, detail := range state.Details() {
		switch detail := detail.(type) {
		case *errdetails.BadRequest:
			for _, v := range detail.GetFieldViolations() {
				e.Violations = append(e.Violations, &ententev1.FieldViolation{Field: printable(v.GetField()), Reason: printable(v.GetDescription())})
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = min(max(detail.GetRetryDelay().AsDuration(), 0), longestAsked)
		case *errdetails.QuotaFailure:
			for _, v := range detail.GetViolations() {
				e.Limit = printable(v.GetDescription())
			}
		}
	}
}

// IsPermanent says whether trying again, as it is, cannot help: a refused, expired or revoked certificate, a method that is
// closed to the caller, a request that breaks the contract's rules or does not fit the state of the node, something that
// does not exist or that the node does not offer. Push, Follow, Watch and Retry never repeat such a call.
//
// The opposite is not certain: of a broken connection nobody knows.
func IsPermanent(err error) bool {
	if errors.Is(err, ErrRefused) {
		return true
	}
	if errors.Is(err, ErrUnreachable) {
		return false
	}
	switch codeOf(err) {
	case codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument, codes.Unimplemented, codes.FailedPrecondition, codes.NotFound:
		return true
	case codes.Unavailable:
		return isRefusal(status.Convert(err)) // of a raw service client
	}
	return false
}

func codeOf(err error) codes.Code {
	known := new(Error)
	if errors.As(err, &known) {
		return known.Code
	}
	return status.Code(err)
}

// passing says whether trying again may help: the node is not reachable, or says how long to wait.
func passing(err error) bool {
	return errors.Is(err, ErrUnreachable) || retryAfter(err) > 0
}

// retryAfter is how long the node asks to wait; 0: it does not. A message that is too large has the code of an exceeded limit
// too, but no such request: it never passes.
func retryAfter(err error) time.Duration {
	known := new(Error)
	if !errors.As(err, &known) || known.Code != codes.ResourceExhausted {
		return 0
	}
	return known.RetryAfter
}
