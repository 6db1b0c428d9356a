package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
)

var (
	// ErrRefused says that one side refused the other's certificate. Trying again does not help: see the text.
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
	e.Violations = violations(state)
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
		"); check that it has not expired, was issued by the own member's authority and belongs to the key; a new one is needed otherwise"
}

// violations reads the fields at fault from the details of a status.
func violations(state *status.Status) []*ententev1.FieldViolation {
	var found []*ententev1.FieldViolation
	for _, detail := range state.Details() {
		bad, ok := detail.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, v := range bad.GetFieldViolations() {
			found = append(found, &ententev1.FieldViolation{Field: printable(v.GetField()), Reason: printable(v.GetDescription())})
		}
	}
	return found
}

// passing says whether trying again may help.
func passing(err error) bool { return errors.Is(err, ErrUnreachable) }
