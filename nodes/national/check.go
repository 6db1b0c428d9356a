package national

import (
	"context"
	"errors"
	"slices"

	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

// Check finds all that would keep the node from starting, by the code of the start, and starts nothing: the marker of a
// clean stop stays where it is, no socket is opened, and nothing is written. The data file must not be in use.
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
		return p.Field == "sealing_key" || p.Field == "genesis" || p.Field == "signing_key" || p.Field == "certificate"
	}
	if slices.ContainsFunc(problems, needed) || ctx.Err() != nil {
		return problems // the rest cannot be told without
	}
	st, err := openData(&m, deps, true)
	if err != nil {
		return append(problems, c.problem("data", err)...)
	}
	defer st.Close() // nothing was written that could be lost
	return append(problems, checkDocuments(c, &m, st, deps)...)
}

// checkDocuments looks for what a start would say of roster and projects.
func checkDocuments(c *Config, m *Material, st *store.Store, deps Deps) []Problem {
	dry := func(string, []byte) error { return nil } // what is accepted here is forgotten
	d, err := newDirectory(st, dry, m.Member, m.Federation, deps.Now, deps.Logger)
	if err != nil {
		return c.problem("data", err)
	}
	docs, unread := m.Documents()
	_, refused := d.accept(docs)
	problems := append(c.problem("roster", unread), c.problem("roster", refused)...)
	err = d.fit(m)
	var standing *standingError
	switch {
	case errors.As(err, &standing):
		return append(problems, c.problem(standing.field, err)...)
	case errors.Is(err, errNoRoster) && len(problems) > 0:
		return problems // they say why
	case errors.Is(err, member.ErrRosterExpired) && errors.Is(refused, member.ErrRosterExpired):
		return problems
	}
	return append(problems, c.problem("roster", err)...)
}

// problem makes an error of a start into a problem with a setting; such errors say themselves what to do.
func (c *Config) problem(field string, err error) []Problem {
	if err == nil {
		return nil
	}
	return []Problem{c.at(field, err.Error(), "")}
}
