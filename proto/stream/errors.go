package stream

import (
	"errors"
	"fmt"
)

// ErrOlder says that a checkpoint is soundly signed but older than what is held or was accepted before: the source is
// behind. It is no fault of anybody.
var ErrOlder = errors.New("checkpoint is older than what is held")

// Rule names what a sender broke, for logs and counters.
type Rule string

// The rules that a sender can break.
const (
	RuleStream      Rule = "message is about another stream"
	RuleCheckpoint  Rule = "checkpoint is not the owner's"
	RuleConsistency Rule = "consistency is not proven"
	RuleInclusion   Rule = "inclusion is not proven"
	RuleOrder       Rule = "no checkpoint was sent before"
	RuleBeyond      Rule = "beyond the newest checkpoint"
	RuleEmpty       Rule = "batch is empty"
	RuleHeader      Rule = "header is malformed"
	RuleWithdrawal  Rule = "withdrawal is not one"
	RuleSequence    Rule = "sequence has a gap or a repetition"
	RuleOpening     Rule = "opening is not that of this stream and reader"
	RuleClosed      Rule = "only withdrawals follow a closing"
	RuleMissing     Rule = "payload is missing and no withdrawal covers it"
	RuleCommitment  Rule = "commitment does not match"
	RulePayload     Rule = "payload is malformed"
	RuleGrant       Rule = "grant is not the owner's for this stream and reader"
)

// SenderError says that whoever sent the bytes is at fault. The receiver drops that source and tries another; what it
// holds is unchanged. It holds no content of records.
type SenderError struct {
	Stream ID
	// Sequence is the entry at fault, 0 where it is none or not known.
	Sequence uint64
	Rule     Rule
	// Err has the detail, or is nil.
	Err error
}

// Error implements error.
func (e *SenderError) Error() string {
	text := fmt.Sprintf("stream %s", e.Stream)
	if e.Sequence != 0 {
		text += fmt.Sprintf(", entry %d", e.Sequence)
	}
	text += ": " + string(e.Rule)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the detail.
func (e *SenderError) Unwrap() error {
	return e.Err
}

// ForkError says that the owner signed two heads that no one history can have. It freezes the stream. The two notes
// prove it to anybody who has the owner's keys: by themselves where the sizes are equal, else together with the entries.
type ForkError struct {
	Stream ID
	// Held is what was accepted before, New what contradicts it.
	Held, New Checkpoint
	// HeldNote and NewNote are the signed notes. HeldNote is nil where the Reader was made from an edge alone; then
	// only Size and Root of Held are known, and the caller finds the note that it stored with the edge.
	HeldNote, NewNote []byte
}

// Error implements error.
func (e *ForkError) Error() string {
	return fmt.Sprintf("stream %s: the owner signed two histories: size %d root %x, and size %d root %x",
		e.Stream, e.Held.Size, e.Held.Root, e.New.Size, e.New.Root)
}
