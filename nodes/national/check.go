package national

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

// Check finds all that would keep the node from starting, by the code of the start, and what ought to be mended although
// it starts (Problem.Warning). It starts nothing: the marker of a clean stop stays where it is, no socket is opened, and
// nothing is written. The data file must not be in use.
func Check(ctx context.Context, c *Config, deps Deps) []Problem {
	deps, err := deps.orDefault()
	if err != nil {
		return []Problem{{What: err.Error()}}
	}
	m, problems := load(c, deps.Now())
	if c.Listen == "" {
		problems = append(problems, c.at("listen", "missing", "give an address such as 0.0.0.0:7443"))
	}
	needed := func(p Problem) bool {
		return !p.Warning && slices.Contains([]string{"sealing_key", "genesis", "signing_key", "certificate"}, p.Field)
	}
	if !slices.ContainsFunc(problems, needed) && ctx.Err() == nil { // the rest cannot be told without
		problems = append(problems, c.checkData(&m, deps)...)
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return compareBool(a.Warning, b.Warning) })
	return problems
}

func (c *Config) checkData(m *Material, deps Deps) []Problem {
	st, err := openData(m, deps, true)
	if err != nil {
		return c.toProblems("data", err)
	}
	defer st.Close() // nothing was written that could be lost
	return c.checkDocuments(m, st, deps)
}

// checkDocuments looks for what a start would say of roster, projects and revocation lists.
func (c *Config) checkDocuments(m *Material, st *store.Store, deps Deps) []Problem {
	dry := func(string, []byte) error { return nil } // what is accepted here is forgotten
	d, err := newDirectory(st, dry, m.Member, m.Federation, deps.Now, deps.Logger)
	if err != nil {
		return c.toProblems("data", err)
	}
	docs, unread := m.Documents()
	_, refused := d.accept(docs)
	problems := append(c.toProblems("roster", unread), c.toProblems("roster", refused)...)
	problems = append(problems, c.checkRevocations(m, d, st, deps)...)
	problems = append(problems, c.warnRoster(d.get().Roster, deps.Now())...)
	err = d.fit(m)
	var standing *standingError
	switch {
	case errors.As(err, &standing):
		return append(problems, c.toProblems(standing.field, err)...)
	case errors.Is(err, errNoRoster) && len(problems) > 0:
		return problems // they say why
	case errors.Is(err, member.ErrRosterExpired) && errors.Is(refused, member.ErrRosterExpired):
		return problems
	}
	return append(problems, c.toProblems("roster", err)...)
}

// checkRevocations looks at the lists that can be read, and whether the node's own certificate is on one.
func (c *Config) checkRevocations(m *Material, d *directory, st *store.Store, deps Deps) []Problem {
	if d.get().Roster == nil {
		return nil
	}
	r, err := newRevocations(st, true, m.Member, func() *member.Roster { return d.get().Roster }, deps.Logger)
	if err != nil {
		return c.toProblems("data", err)
	}
	var problems []Problem
	for i, path := range c.RevocationLists {
		der, err := readRevocationFile(path)
		if err != nil {
			continue // said already
		}
		_, err = r.take("", der)
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		problems = append(problems, c.toProblems(fmt.Sprintf("revocation_lists[%d]", i), err)...)
	}
	for _, list := range r.current.Load().lists {
		if list.Member() == m.Member && !list.NextUpdate().IsZero() && deps.Now().After(list.NextUpdate()) {
			problems = append(problems, c.warning("revocation_lists", fmt.Sprintf("the list number %s was to be followed by a newer one at %s; it goes on counting",
				list.Number(), list.NextUpdate().UTC().Format(time.RFC3339)), "make the next with `entente pki revoke`, or let the authority do so"))
		}
	}
	leaf, _, err := leafOf(m)
	if err == nil && r.Revoked(leaf) {
		problems = append(problems, c.at("certificate", "it has been revoked: all other nodes refuse it", "issue a new one"))
	}
	return problems
}

// warnRoster says when the roster ends soon.
func (c *Config) warnRoster(roster *member.Roster, now time.Time) []Problem {
	if roster == nil || !endsSoon(now, roster.IssuedAt(), roster.ExpiresAt(), 7*24*time.Hour) {
		return nil
	}
	return []Problem{c.warning("roster", fmt.Sprintf("the roster (number %d) expires at %s: then no node serves any other any more",
		roster.Number(), roster.ExpiresAt().UTC().Format(time.RFC3339)), "have an assembler make the next one")}
}

func (c *Config) warning(field, what, mend string) Problem {
	p := c.at(field, what, mend)
	p.Warning = true
	return p
}

// toProblems makes an error of a start into problems, each with the setting that it is about, or else with the one given;
// such errors say themselves what to do.
func (c *Config) toProblems(field string, err error) []Problem {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if ok {
		var list []Problem
		for _, one := range joined.Unwrap() {
			list = append(list, c.toProblems(field, one)...)
		}
		return list
	}
	var configured *ConfigError
	if errors.As(err, &configured) {
		return configured.Problems
	}
	var named *settingError
	if errors.As(err, &named) {
		field = named.field
	}
	return []Problem{c.at(field, err.Error(), "")}
}
