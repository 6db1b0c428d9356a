package replica

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"entente.example/entente/proto/stream"
)

// Rule names what a peer broke in the conversation; what it can break in a stream is named by stream.Rule.
type Rule string

// The rules of a pull.
const (
	RuleDigest      Rule = "signed digest does not count"
	RuleDigestFirst Rule = "a pull does not open with a signed digest"
	RuleDigestAhead Rule = "signed digest is dated more than 5 minutes ahead"
	RulePositions   Rule = "positions are asked for a second time"
	RuleUnasked     Rule = "streams are sent before positions were given"
	RuleContent     Rule = "message is empty or of an unknown kind"
	RuleLate        Rule = "withdrawals come after releases"
	RuleNotOffered  Rule = "stream was not announced by a checkpoint, or belongs to another member"
	RuleForeign     Rule = "withdrawal names a stream that is not known to be the owner's"
	RuleTooMany     Rule = "more streams, or withdrawals of streams never announced, than an owner has"
	RuleSilence     Rule = "no sign of life"
	RuleUnfinished  Rule = "the call ends before the word that this was all"
)

// Fault says that a peer broke the rules of a pull. Like stream.SenderError it ends the connection.
type Fault struct {
	Rule Rule
	// Stream is the stream it is about, zero where none.
	Stream stream.ID
	// Err has the detail, or is nil.
	Err error
}

// Error implements error.
func (f *Fault) Error() string {
	text := string(f.Rule)
	if f.Stream != (stream.ID{}) {
		text = "stream " + f.Stream.String() + ": " + text
	}
	if f.Err != nil {
		text += ": " + f.Err.Error()
	}
	return text
}

// Unwrap returns the detail.
func (f *Fault) Unwrap() error { return f.Err }

// told is the failure of a call. The text of a status that came from the peer is the peer's, so only its code is kept; the
// text of a failure to get there at all is ours.
type told struct {
	method string
	code   codes.Code
	local  string
	err    error
}

// Error implements error.
func (t *told) Error() string {
	if t.local != "" {
		return fmt.Sprintf("%s: %s: %s", t.method, t.code, t.local)
	}
	return fmt.Sprintf("%s: the peer, or the way to it, says %s", t.method, t.code)
}

// Unwrap returns the status as it came, for codes and for errors.Is; it is not to be printed.
func (t *told) Unwrap() error { return t.err }

// asTold wraps the error of a call. reached is what grpc.Peer filled in.
func asTold(method string, err error, reached *grpcpeer.Peer) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	t := &told{method: method, code: status.Code(err), err: err}
	if reached.Addr == nil {
		t.local = status.Convert(err).Message()
	}
	return t
}
