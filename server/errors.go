package server

import (
	"context"
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/audit"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
	"entente.example/entente/server/store"
)

// What callers are told. The texts are fixed: nothing of a message, a record or an inner error is repeated. NotFound has
// one text only, so that "absent" and "not for you" are the same bytes.
var (
	errNotFound     = status.Error(codes.NotFound, "not found")
	errClosed       = status.Error(codes.PermissionDenied, "this method is closed to this kind of identity")
	errNotGranted   = status.Error(codes.PermissionDenied, "the caller's own member does not grant this")
	errNoIdentity   = status.Error(codes.Unauthenticated, "no verified identity")
	errExpired      = status.Error(codes.Unauthenticated, "the certificate is not valid now")
	errRevoked      = status.Error(codes.Unauthenticated, "the certificate has been revoked")
	errNotMember    = status.Error(codes.PermissionDenied, "the caller's member is not in the roster, or is suspended")
	errLeft         = status.Error(codes.FailedPrecondition, "the own member has left the federation: what others released to it is closed")
	errRosterStale  = status.Error(codes.Unavailable, "the roster of the called node has expired")
	errStopping     = status.Error(codes.Unavailable, "the node is stopping")
	errGrantChanged = status.Error(codes.Aborted, "what the caller is granted has changed; call again")
	errBadCursor    = status.Error(codes.InvalidArgument, "the cursor is not one of this caller and this subscription")
	errBadToken     = status.Error(codes.InvalidArgument, "the page token is not one of this caller and this request")
	errNotWithin    = status.Error(codes.FailedPrecondition, "the coordinator's node answers with more than the question is for: it is of an older version, which knows no clearances; its operator has to upgrade it")
	errViewChanged  = status.Error(codes.FailedPrecondition, "the view has changed; begin anew")
	errListChanged  = status.Error(codes.FailedPrecondition, "the list has changed; begin anew")
	errNoCoord      = status.Error(codes.Unavailable, "the coordinator cannot be reached")
	errNotYet       = status.Error(codes.Unavailable, "a stream waits for its readers after an unclean stop; call again in some seconds")
	errNoHoney      = status.Error(codes.Unimplemented, "this node keeps no honey records")
	errNoReconcile  = status.Error(codes.Unimplemented, "this node cannot ask other members' nodes")
	errTooMany      = status.Error(codes.InvalidArgument, "the selection is of more records than one call takes: narrow it")
	errTrailForked  = status.Error(codes.DataLoss, "not a continuation of the audit trail that was signed before")
	errInternal     = status.Error(codes.Internal, "internal error")
)

// errUntraced is a fault of this program: a message that says nothing to the audit trail.
var errUntraced = errors.New("a message says nothing to the audit trail")

// codeTable maps errors of the parts to what a caller is told. The first that matches counts; none: errInternal.
func codeTable() []struct {
	err  error
	tell error
} {
	return []struct {
		err  error
		tell error
	}{
		{ledger.ErrAbsent, errNotFound},
		{ledger.ErrRefused, status.Error(codes.InvalidArgument, "a document is not sound, or not one of the caller for this node")},
		{store.ErrFull, status.Error(codes.ResourceExhausted, "the node's disk is full: nothing was taken; reading goes on")},
		{ledger.ErrStopped, errStopping},
		{ledger.ErrNotYet, errNotYet},
		{ledger.ErrTooMany, errTooMany},
		{store.ErrClosed, errStopping},
		{policy.ErrNotGranted, errNotGranted},
		{audit.ErrFork, errTrailForked},
		{context.DeadlineExceeded, status.Error(codes.DeadlineExceeded, "the call took too long")},
		{context.Canceled, status.Error(codes.Canceled, "the call was cancelled")},
	}
}

// tell turns an error of a part into what the caller is told. An error that already is a status goes as it is.
func tell(err error) error {
	if err == nil {
		return nil
	}
	_, isStatus := status.FromError(err)
	if isStatus {
		return err
	}
	for _, line := range codeTable() {
		if errors.Is(err, line.err) {
			return line.tell
		}
	}
	return &internalError{err}
}

// internalError is told as errInternal; its cause goes to the log, where errors of the parts hold no personal data.
type internalError struct{ cause error }

func (e *internalError) Error() string              { return errInternal.Error() }
func (e *internalError) Unwrap() error              { return e.cause }
func (e *internalError) GRPCStatus() *status.Status { return status.Convert(errInternal) }

// ended is why a call's context ended, as the caller is told.
func ended(ctx context.Context) error { return tell(context.Cause(ctx)) }

// invalid is InvalidArgument with the fields at fault.
func invalid(violations []*ententev1.FieldViolation) error {
	detail := &errdetails.BadRequest{}
	for _, v := range violations {
		detail.FieldViolations = append(detail.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: v.GetField(), Description: v.GetReason(),
		})
	}
	bare := status.New(codes.InvalidArgument, "the request breaks rules of the contract: see the fields in the details")
	detailed, err := bare.WithDetails(detail)
	if err != nil {
		return bare.Err()
	}
	return detailed.Err()
}

// overLimit is ResourceExhausted with the limit that the caller is over and how long to wait. It tells nothing of others.
func overLimit(over limit, wait time.Duration) error {
	bare := status.New(codes.ResourceExhausted, "this identity is over its limit "+over.String())
	detailed, err := bare.WithDetails(
		&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)},
		&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{Subject: "identity", Description: over.String()}}},
	)
	if err != nil {
		return bare.Err()
	}
	return detailed.Err()
}

func invalidField(field, reason string) error {
	return invalid([]*ententev1.FieldViolation{{Field: field, Reason: reason}})
}
