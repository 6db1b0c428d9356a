package store

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	bolterrors "go.etcd.io/bbolt/errors"
)

// The errors that a caller can act on. All are wrapped with the path or the place: compare with errors.Is.
var (
	ErrMissing     = errors.New("there is no data file")
	ErrExists      = errors.New("there is already a data file")
	ErrNotAStore   = errors.New("not a data file of a node")
	ErrLocked      = errors.New("another process has the data file open")
	ErrNewerSchema = errors.New("the data file was written by a newer version of this program")
	ErrWrongKey    = errors.New("sealed with a key that is not in the keyring")
	ErrFull        = errors.New("no space left for the data file") // reads go on, and so do writes once there is space
	ErrNoRoom      = errors.New("no space left for the copy")      // of a backup, restore or compaction; nothing of it is left
	ErrTaken       = errors.New("there is already a file of that name")
	ErrKept        = errors.New("the copy that an earlier upgrade kept is there, and is another file")
	ErrBusy        = errors.New("another one is under way: a backup, a compaction or a change of the key")
	ErrAbsent      = errors.New("beyond the end of the series")
	ErrClosed      = errors.New("the store or the transaction is closed")
)

// maxPlaces bounds the list in a DamageError: a file with more damage than this is not repaired value by value.
const maxPlaces = 32

// DamageError says that the file does not hold what was written. It names places (a part and a number, or a page)
// and never shows data.
type DamageError struct {
	Places []string // what is wrong and where, at most maxPlaces
	More   int      // further places that are not listed
	Err    error    // the cause, if there is one beyond the places, e.g. ErrWrongKey
}

func (e *DamageError) Error() string {
	text := "damaged data file: " + strings.Join(e.Places, "; ")
	if e.More > 0 {
		text += fmt.Sprintf("; and %d more", e.More)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *DamageError) Unwrap() error { return e.Err }

// add notes one more place.
func (e *DamageError) add(format string, args ...any) {
	if len(e.Places) >= maxPlaces {
		e.More++
		return
	}
	e.Places = append(e.Places, fmt.Sprintf(format, args...))
}

// join notes the places of another damage, and any other error as one.
func (e *DamageError) join(err error) {
	var other *DamageError
	if !errors.As(err, &other) {
		e.add("%v", err)
		return
	}
	for _, place := range other.Places {
		if other.Err != nil {
			place += ": " + other.Err.Error()
		}
		e.add("%s", place)
	}
	e.More += other.More
	if errors.Is(other.Err, ErrWrongKey) {
		e.Err = ErrWrongKey // an operator can do something about this one
	}
}

// orNil is the error, or nil where no place was noted.
func (e *DamageError) orNil() error {
	if len(e.Places) == 0 {
		return nil
	}
	return e
}

func damage(cause error, format string, args ...any) *DamageError {
	return &DamageError{Places: []string{fmt.Sprintf(format, args...)}, Err: cause}
}

// rescue turns a panic of bbolt over a damaged page, or a fault of the memory map, into damage. It must be deferred
// directly, and only around code of this package: a panic of a caller's function is the caller's.
func rescue(err *error, doing string) {
	caught := recover()
	if caught != nil {
		*err = damage(nil, "%s: %v", doing, caught)
	}
}

// FatalError says that the disk failed in a way after which nobody knows what is on it (a failed fsync may
// drop the data and then report success: PostgreSQL stops on the first one since 11.2). The process must stop;
// until then the store refuses everything with the same error. The next Open finds out what is there.
type FatalError struct {
	Err error
}

func (e *FatalError) Error() string {
	return "the disk failed, the process must stop: " + e.Err.Error()
}

func (e *FatalError) Unwrap() error { return e.Err }

// isFull says whether a commit failed for want of space. bbolt keeps only the text of some errors of the system.
func isFull(err error) bool {
	if errors.Is(err, bolterrors.ErrMaxSizeReached) {
		return true
	}
	for _, number := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, number) || strings.HasSuffix(err.Error(), number.Error()) {
			return true
		}
	}
	return false
}
