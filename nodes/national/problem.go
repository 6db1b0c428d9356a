package national

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/policy"
	"entente.example/entente/server/store"
)

// Problem is one thing that keeps a node from starting, or from doing its part.
type Problem struct {
	// File is where it is; empty where it is in no file.
	File string
	// Line in that file, from 1; 0 where there is none.
	Line int
	// Field is the key of the setting; empty where it is about none.
	Field string
	// What is wrong.
	What string
	// Mend is what to do.
	Mend string
	// Warning says that the node starts all the same.
	Warning bool
}

// String is the problem in one line: file:line: field: what; mend.
func (p Problem) String() string {
	place := p.File
	if p.Line > 0 {
		place = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	var parts []string
	if p.Warning {
		parts = append(parts, "warning")
	}
	for _, part := range []string{place, p.Field, p.What} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	text := strings.Join(parts, ": ")
	if p.Mend == "" {
		return text
	}
	return text + "; " + p.Mend
}

// problems finds what is wrong with the settings as such, without opening a file.
func (c *Config) problems() []Problem {
	var list []Problem
	add := func(bad bool, field, what, mend string) {
		if bad {
			list = append(list, c.at(field, what, mend))
		}
	}
	_, err := member.ParseID(c.Member)
	add(c.Member == "", "member", "missing", "give the id of the member, such as XA")
	add(c.Member != "" && err != nil, "member", "not the id of a member", "use capital letters, digits and hyphens, a letter first")
	_, err = member.ParseID(c.Coordinator)
	add(c.Coordinator != "" && err != nil, "coordinator", "not the id of a member", "give the id of a coordinator in the roster")
	_, _, err = net.SplitHostPort(c.Listen)
	add(c.Listen != "" && err != nil, "listen", "not host:port", "give an address such as 0.0.0.0:7443")
	add(c.MaxBytes != 0 && c.MaxBytes < store.MinMaxBytes, maxBytesName, "too small",
		fmt.Sprintf("give at least %d, or 0 for no limit", store.MinMaxBytes))
	add(c.Genesis == "" && c.Federation == "", "genesis", "missing", "name the genesis file, or give its SHA-256 as federation")
	add(c.Genesis != "" && c.Federation != "", "federation", "given together with genesis", "remove one of the two")
	_, ok := parseFederation(c.Federation)
	add(c.Federation != "" && !ok, "federation", "not 64 hexadecimal digits", "give SHA-256 of the genesis")
	add(c.Log != "text" && c.Log != "json", "log", "unknown", "use text or json")
	_, ok = logLevels()[c.LogLevel]
	add(!ok, "log_level", "unknown", "use debug, info, warn or error")
	add(c.OwnKeyExchange != "hybrid" && c.OwnKeyExchange != "classic", "own_key_exchange", "unknown", "use hybrid or classic")
	delay, err := time.ParseDuration(c.GrantDelay)
	add(err != nil || delay < 0, "grant_delay", "not a length of time", "give one such as 24h or 90m")
	deliver, err := time.ParseDuration(c.DeliverWithin)
	add(err != nil || deliver <= 0, "deliver_within", "not a length of time", "give one such as 24h or 90m")
	compact, err := time.ParseDuration(c.CompactWithin)
	add(err != nil || compact < time.Hour, "compact_within", "not a length of time, or less than an hour", "give one such as 24h")
	_, err = member.ParseID(c.AuditWitness)
	add(c.AuditWitness != "" && (err != nil || c.AuditWitness == c.Member), "audit_witness", "not the id of another member", "give the id of a member in the roster")
	longest := policy.DefaultProfile()
	add(c.RetainYears < 1 || c.RetainYears > longest.LongestYears, "retain_years", "not from 1 to 5", "give the years, or leave it out")
	add(c.ReviewYears < 1 || c.ReviewYears > longest.ReviewYears, "review_years", "not from 1 to 3", "give the years, or leave it out")
	_, ok = parseAttestations(c.Attestations)
	add(!ok, "attestations", "names one that does not exist", "see AttestationKind in the contract, such as neutrality")
	for _, authority := range c.ThirdParties {
		known := slices.ContainsFunc(c.Systems, func(s SystemConfig) bool { return s.Authority == authority })
		add(!known, "third_parties", fmt.Sprintf("names %q, in whose name no system pushes", authority), "name authorities as in systems")
	}
	list = append(list, c.limitProblems()...)
	_, bad := c.grants()
	return append(list, bad...)
}

func (c *Config) limitProblems() []Problem {
	var list []Problem
	for _, p := range c.Limits.Problems() {
		one := c.at("limits."+p.Field, p.What, p.Mend)
		if strings.HasPrefix(p.Field, "identities.") {
			one.Field = "limits.identities" // the line says which; the name may be a person's
		}
		list = append(list, one)
	}
	return list
}

// grants reads systems and officers. The names of officers are not repeated.
func (c *Config) grants() (*policy.Grants, []Problem) {
	var list []Problem
	g := &policy.Grants{Systems: map[string]policy.System{}, Officers: map[string]policy.Officer{}}
	for i, s := range c.Systems {
		field := fmt.Sprintf("systems[%d]", i)
		_, twice := g.Systems[s.Name]
		if twice || !c.validName(member.KindSystem, s.Name) {
			list = append(list, c.at(field, fmt.Sprintf("the name %q is missing, not a name, or listed twice", s.Name), "give each system its own"))
		}
		if s.Authority == "" && len(s.Projects) == 0 && !s.Grant {
			list = append(list, c.at(field, fmt.Sprintf("%s has neither authority nor projects", s.Name),
				"give it an authority to push, or projects to follow"))
		}
		clearance, ok := parseClearance(s.Clearance)
		if !ok {
			list = append(list, c.at(field+".clearance", "unknown", mendClearance))
		}
		g.Systems[s.Name] = policy.System{Authority: s.Authority, Projects: s.Projects, Grant: s.Grant, Permit: s.Permit, Clearance: clearance}
	}
	for i, o := range c.Officers {
		field := fmt.Sprintf("officers[%d]", i)
		purposes, ok := parsePurposes(o.Purposes)
		if !ok || len(purposes) == 0 {
			list = append(list, c.at(field, "an officer has no purpose, or one that does not exist", "see the purposes in the glossary, such as criminal-investigation"))
		}
		if !c.validName(member.KindOfficer, o.Name) {
			list = append(list, c.at(field, "a name is missing or not a name", "use the name in the officer's certificate"))
		}
		_, twice := g.Officers[o.Name]
		if twice {
			list = append(list, c.at(field, "an officer is listed twice", "give each officer one entry"))
		}
		clearance, ok := parseClearance(o.Clearance)
		if !ok {
			list = append(list, c.at(field+".clearance", "unknown", mendClearance))
		}
		g.Officers[o.Name] = policy.Officer{Purposes: purposes, Projects: o.Projects, Approve: o.Approve, Clearance: clearance}
	}
	return g, list
}

func (c *Config) validName(kind member.Kind, name string) bool {
	ident := member.Identity{Member: member.ID(c.Member), Kind: kind, Name: name}
	read, err := member.ParseIdentity(ident.String())
	return err == nil && read == ident
}

// parsePurposes reads names such as criminal-investigation: the contract's, in small letters and with hyphens.
func parsePurposes(names []string) ([]ententev1.Purpose, bool) {
	var list []ententev1.Purpose
	for _, name := range names {
		value := ententev1.Purpose_value["PURPOSE_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))]
		if value == 0 {
			return nil, false
		}
		list = append(list, ententev1.Purpose(value))
	}
	return list, true
}

const mendClearance = "use for-official-use-only, restricted or confidential"

// parseClearance reads a level of classification; none is the lowest.
func parseClearance(name string) (ententev1.ClassificationLevel, bool) {
	if name == "" {
		return ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_FOR_OFFICIAL_USE_ONLY, true
	}
	value := ententev1.ClassificationLevel_value["CLASSIFICATION_LEVEL_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))]
	return ententev1.ClassificationLevel(value), value != 0
}

// parseAttestations reads names such as neutrality.
func parseAttestations(names []string) ([]ententev1.AttestationKind, bool) {
	var list []ententev1.AttestationKind
	for _, name := range names {
		value := ententev1.AttestationKind_value["ATTESTATION_KIND_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))]
		if value == 0 {
			return nil, false
		}
		list = append(list, ententev1.AttestationKind(value))
	}
	return list, true
}
