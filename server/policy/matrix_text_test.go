package policy

import (
	"fmt"
	"slices"
	"strings"
)

const matrixHead = `# The policy of a node, written out.
#
# What a node may do with a record, and who may ask it for what, is decided by one part of the program, from
# tables. This file lists its answers. The tests of the program read the file back and compare each cell, so it
# says what the program does. It is written by
#
#     go test ./server/policy -run Matrix -update
#
# "yes" means allowed, "-" means refused. Whatever is not listed is refused. What is missing, and what this
# version does not know, counts as the strictest.
`

func answer(yes bool) string {
	if yes {
		return "yes"
	}
	return "-"
}

func writeCallers(text *strings.Builder) {
	text.WriteString(`
== 1 Who may call what
# One row a method of the contract. Each kind of caller stands twice: as an identity of the own member, whose
# node is called, and as one of another member. The kind and the member come from the caller's certificate.
# That somebody may call a method says nothing about what it gets: that is sections 2 to 5, and, for the own
# systems and officers, what the member grants each of them by name, purpose, project and clearance. The last
# two columns: whether the method stays open to the own people of a member that has left the federation, and
# what a call leaves in the audit trail.
#
#                                                     node       system     officer    auditor    operator   after    audit trail
#                                                     own other  own other  own other  own other  own other  leaving
`)
	for _, method := range contractMethods() {
		fmt.Fprintf(text, "%-54s", strings.TrimPrefix(method, "/"))
		for i, caller := range matrixCallers() {
			width := 4
			if i%2 == 1 {
				width = 7
			}
			fmt.Fprintf(text, "%-*s", width, answer(Allowed(method, caller, matrixOwner)))
		}
		fmt.Fprintf(text, "%-9s%s\n", answer(AfterLeaving(method)), trailOf(method))
	}
}

func writePurposes(text *strings.Builder) {
	text.WriteString(`
== 2 For which purposes a record may be consulted
# One row a purpose of the record, which its owner states; one column a purpose of the consultation, which the
# asker states. The purposes:
`)
	for _, row := range PurposeTable() {
		fmt.Fprintf(text, "#   P%d  %s\n", row.Record, strings.TrimPrefix(row.Record.String(), "PURPOSE_"))
	}
	text.WriteString("# Why:\n")
	for _, row := range PurposeTable() {
		fmt.Fprintf(text, "#   P%d  %s\n", row.Record, row.Reason)
	}
	text.WriteString("#\n#       ")
	for _, access := range purposes() {
		fmt.Fprintf(text, "%-5s", access.name)
	}
	text.WriteString("\n")
	for _, record := range purposes() {
		fmt.Fprintf(text, "%-8s", record.name)
		for _, access := range purposes() {
			fmt.Fprintf(text, "%-5s", answer(Compatible(record.is, access.is)))
		}
		text.WriteString("\n")
	}
}

func writeClearance(text *strings.Builder) {
	text.WriteString(`
== 3 Which markings who may see
# One row a protective marking of the record, one column a clearance of the asker. A marking that is not given
# is the highest; a clearance that is not given is the lowest. A system that asks for an officer has the lower
# of the two clearances. A record whose marking this version does not know is part of no answer.
#
#                          `)
	for _, clearance := range levels() {
		fmt.Fprintf(text, "%-26s", clearance.name)
	}
	text.WriteString("\n")
	for _, level := range levels() {
		fmt.Fprintf(text, "%-27s", level.name)
		for _, clearance := range levels() {
			fmt.Fprintf(text, "%-26s", answer(mayAt(level.is, clearance.is)))
		}
		text.WriteString("\n")
	}
}

func writeRetention(text *strings.Builder) {
	text.WriteString(`
== 4 Until when a record may be seen
# One row a time at which somebody asks.
#
`)
	for _, end := range ends() {
		fmt.Fprintf(text, "%-27s%s\n", end.name, answer(mayWhen(end.is)))
	}
}

// writeRecords writes section 5. Handling codes for which all cells are equal share a block, and so do subjects.
func writeRecords(text *strings.Builder, policy map[cell]uint16) {
	text.WriteString(`
== 5 What may become of a record
# Each block says above it for which handling codes it holds, and what the record is about: persons by their
# status, then other things. Handling codes:
#   H0  to be used only to prevent and combat crime
#   H1  not to be used in judicial proceedings without the provider's permission
#   H2  not to be disseminated without the provider's permission
#   H3  other restrictions, said in the text
# The rows of a block, of which equal ones are written as one:
#   owner     the member that owns the record
#   reader    a member to which it was released
#   left-out  a participant of the project to which it was released, left out by name
#   other     any other member
#   fits      the purpose of the consultation is one for which the record may be consulted (section 2)
#   differs   it is not
#   unstated  the record states no purpose, or one that this version does not know
# The columns:
`)
	for _, column := range matrixColumns() {
		fmt.Fprintf(text, "#   %-10s%s\n", column.name, column.is)
	}
	text.WriteString("# The last three do not depend on the row's member. All is for a marking, a clearance and a time that allow it.\n")
	byHandling := groups(names(handlings()), func(h string) string { return signature(policy, func(c cell) bool { return c.handling == h }) })
	for _, hs := range byHandling {
		bySubject := groups(names(subjects()), func(s string) string {
			return signature(policy, func(c cell) bool { return c.handling == hs[0] && c.subject == s })
		})
		for _, ss := range bySubject {
			fmt.Fprintf(text, "\n-- handling: %s\n-- about: %s\n", strings.Join(hs, "; "), strings.Join(ss, "; "))
			writeBlock(text, policy, hs[0], ss[0])
		}
	}
}

// writeBlock writes rows that are equal as one.
func writeBlock(text *strings.Builder, policy map[cell]uint16, handling, subject string) {
	header := fmt.Sprintf("#%-28s%-25s", "", "")
	for _, column := range matrixColumns() {
		header += fmt.Sprintf("%-10s", column.name)
	}
	text.WriteString(strings.TrimSpace(header) + "\n")
	byAsker := groups(names(askers()), func(a string) string {
		return signature(policy, func(c cell) bool { return c.handling == handling && c.subject == subject && c.asker == a })
	})
	for _, as := range byAsker {
		byPurpose := groups(standings(), func(p string) string { return fmt.Sprint(policy[cell{handling, subject, as[0], p}]) })
		for _, ps := range byPurpose {
			row := fmt.Sprintf("%-29s%-25s", strings.Join(as, ","), strings.Join(ps, ","))
			for i := range matrixColumns() {
				row += fmt.Sprintf("%-10s", answer(policy[cell{handling, subject, as[0], ps[0]}]>>i&1 != 0))
			}
			text.WriteString(strings.TrimSpace(row) + "\n")
		}
	}
}

// signature is all cells for which is holds, in an order that does not depend on the value that is grouped by.
func signature(policy map[cell]uint16, is func(cell) bool) string {
	var all strings.Builder
	for _, h := range handlings() {
		for _, s := range subjects() {
			for _, a := range askers() {
				for _, purpose := range standings() {
					c := cell{h.name, s.name, a.name, purpose}
					if is(c) {
						fmt.Fprintf(&all, "%x ", policy[c])
					}
				}
			}
		}
	}
	return all.String()
}

func names[T any](values []value[T]) []string {
	var names []string
	for _, v := range values {
		names = append(names, v.name)
	}
	return names
}

// groups puts names together that have the same signature, in the order of the first of each.
func groups(names []string, signature func(name string) string) [][]string {
	var groups [][]string
	var signatures []string
	for _, name := range names {
		s := signature(name)
		i := slices.Index(signatures, s)
		if i < 0 {
			signatures, groups = append(signatures, s), append(groups, []string{name})
			continue
		}
		groups[i] = append(groups[i], name)
	}
	return groups
}
