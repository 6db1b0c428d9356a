package trail

import "fmt"

// Rule names what is wrong with a trail.
type Rule string

// The rules that a trail can break.
const (
	RuleEntry         Rule = "entry is malformed"
	RuleEntryNumber   Rule = "an entry is missing, inserted or moved"
	RuleInterval      Rule = "interval is malformed"
	RuleIntervalOrder Rule = "an interval is missing, inserted or moved"
	RuleIntervalSize  Rule = "an entry is missing or inserted before the end of the interval"
	RuleIntervalRoot  Rule = "the entries are not those over which the interval was closed"
	RuleHead          Rule = "head is not the node's"
	RuleIntervalHead  Rule = "the intervals are not those that the node signed"
	RuleEntryHead     Rule = "the entries are not those that the node signed"
	RuleWitness       Rule = "countersignature is not the witness's"
	RuleWitnessed     Rule = "the intervals are not those that the witness signed"
	RuleEarlier       Rule = "not a continuation of the trail that was seen before"
	RuleShorter       Rule = "the trail is shorter than a head that was signed"
	RuleParts         Rule = "parts of the trail are not in their order, or the end is missing"
)

// Fault is the first thing that is wrong with a trail. It names places and shows no data.
type Fault struct {
	Rule Rule
	// Entry and LastEntry are where the fault lies: an entry, or somewhere in a stretch of them; 0 where no entry is at fault.
	Entry, LastEntry uint64
	// Interval and LastInterval are the same for intervals.
	Interval, LastInterval uint64
	// Err has the detail, or is nil.
	Err error
}

// Error implements error.
func (f *Fault) Error() string {
	text := "audit trail"
	text += place("entry", "entries", f.Entry, f.LastEntry)
	text += place("interval", "intervals", f.Interval, f.LastInterval)
	text += ": " + string(f.Rule)
	if f.Err != nil {
		text += ": " + f.Err.Error()
	}
	return text
}

// Unwrap returns the detail.
func (f *Fault) Unwrap() error { return f.Err }

func place(one, many string, first, last uint64) string {
	if first == 0 {
		return ""
	}
	if last <= first {
		return fmt.Sprintf(", %s %d", one, first)
	}
	return fmt.Sprintf(", %s %d to %d", many, first, last)
}
