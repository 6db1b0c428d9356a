package policy

import (
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Permission is what an owner allows the holder of one version of a record: to pass on what it made from it, to the named
// recipients, or to export it. It frees nothing else, and the record itself never.
type Permission struct {
	Owner      member.ID
	Record     [16]byte
	Commitment [32]byte // of the release by which the holder has the version
	Holder     member.ID
	Recipients []member.ID
	Export     bool
	Purpose    ententev1.Purpose
	Until      int64 // Unix seconds, excluded
}

// Use is what somebody wants to do with what was made from a record: export it, pass it on to a recipient, or both.
type Use struct {
	Export    bool
	Recipient member.ID // empty: no member gets it
	Purpose   ententev1.Purpose
}

// Frees says whether the permission allows a use of exactly this version of this record by this holder at a time in Unix
// seconds. What is not given is not allowed.
func (p Permission) Frees(record [16]byte, owner member.ID, commitment [32]byte, holder member.ID, use Use, now int64) bool {
	if owner == "" || holder == "" || commitment == ([32]byte{}) || now <= 0 {
		return false
	}
	exact := p.Owner == owner && p.Record == record && p.Commitment == commitment && p.Holder == holder
	return exact && now < p.Until && Compatible(p.Purpose, use.Purpose) && p.covers(use)
}

// covers says whether all that a use does is allowed; one that does nothing is none.
func (p Permission) covers(use Use) bool {
	if !use.Export && use.Recipient == "" {
		return false
	}
	exports := !use.Export || p.Export
	passes := use.Recipient == "" || slices.Contains(p.Recipients, use.Recipient)
	return exports && passes
}

// Source is a record from which something was made, as the one who made it holds it.
type Source struct {
	Owner       member.ID
	Holder      member.ID // who made something from it; not given: no permission applies
	Record      [16]byte
	Commitments [][32]byte // of the releases by which the holder has it
	Label       Label
	Readers     []member.ID // who reads the record as far as the holder knows, the owner included
	// Made are the records of others that this one was made from, where the holder owns it, each with the permissions that the
	// holder has for it. One that it does not hold any more is the zero Made, which frees nothing.
	Made []Made
}

// Made is a record of another member that an own one was made from, with what its owner permits.
type Made struct {
	Source      Source
	Permissions []Permission
}

// freed says whether a permission allows the use of one of the versions that are held.
func (s Source) freed(use Use, permissions []Permission, now int64) bool {
	return slices.ContainsFunc(permissions, func(p Permission) bool {
		return slices.ContainsFunc(s.Commitments, func(commitment [32]byte) bool {
			return p.Frees(s.Record, s.Owner, commitment, s.Holder, use, now)
		})
	})
}

// usable says whether anything may be made from the source at all.
func (s Source) usable(now int64) bool {
	return !s.Label.Unknown && s.Label.Status != ententev1.PersonStatus_PERSON_STATUS_INFORMANT && current(s.Label, now)
}

// MayPassOn says whether what was made from a source may go to a recipient: to whoever reads the source itself, for a
// purpose that fits the record, and to others only by the owner's permission (the third-party rule). now is in Unix seconds.
func MayPassOn(source Source, use Use, permissions []Permission, now int64) bool {
	if use.Export {
		return MayExport(source, use, permissions, now)
	}
	if use.Recipient == "" || !source.usable(now) {
		return false
	}
	if MayRead(use.Recipient, source.Owner, source.Readers) && Compatible(source.Label.Purpose, use.Purpose) {
		return true
	}
	return source.freed(use, permissions, now)
}

// MayExport says whether what was made from a source may go into a file: of a record without H2 for a purpose that fits it,
// and with H2 only by the owner's permission. Where the file is for a member, that member must read the source or be named in
// the permission. What somebody owns, and exports for nobody else, needs no permission but those of what it was made from: each of
// that must be free for an export too. now is in Unix seconds.
func MayExport(source Source, use Use, permissions []Permission, now int64) bool {
	use.Export = true
	if !source.usable(now) || slices.ContainsFunc(source.Made, func(m Made) bool { return !MayExport(m.Source, use, m.Permissions, now) }) {
		return false
	}
	if source.freed(use, permissions, now) {
		return true
	}
	own := source.Owner != "" && source.Owner == source.Holder
	free := own || !source.Label.Handling.Has(ententev1.HandlingCode_HANDLING_CODE_H2)
	known := use.Recipient == "" || MayRead(use.Recipient, source.Owner, source.Readers)
	return free && known && Compatible(source.Label.Purpose, use.Purpose)
}
