package cli

import (
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// exportCSV is an export as CSV: one line a value.
type exportCSV struct{ to io.Writer }

func exportColumns() []string {
	return []string{"kind", "id", "field", "value", "sources", "grades", "handling", "classification", "retain_until", "banners"}
}

// exportedItem is what an entity and an association have in common.
type exportedItem struct {
	kind, id, handling, classification string
	banners                            string
	sources                            []*ententev1.ViewSource
	lines                              [][]string
}

func (e exportCSV) head(done *exportedView) error {
	head := &exportedItem{kind: "head"}
	for _, banner := range done.banners {
		head.add("banner", banner, nil)
	}
	head.add("reader", done.view.GetReader(), nil)
	head.add("view", hex.EncodeToString(done.view.GetHash()), nil)
	head.add("rows", fmt.Sprint(done.summary.GetRows()), nil)
	head.add("left out without permission", fmt.Sprint(done.summary.GetWithoutPermission()), nil)
	return e.write(append([][]string{exportColumns()}, head.lines...))
}

func (e exportCSV) row(row *ententev1.ExportRow) error {
	if row.GetAssociation() != nil {
		return e.write(associationLines(row.GetAssociation(), row.GetBanners()))
	}
	return e.write(entityLines(row.GetEntity(), row.GetBanners()))
}

func (e exportCSV) write(lines [][]string) error {
	writer := csv.NewWriter(e.to)
	for _, line := range lines {
		cells := make([]string, len(line))
		for i, cell := range line {
			cells[i] = clean(harmless(cell))
		}
		err := writer.Write(cells)
		if err != nil {
			return fmt.Errorf("write the export: %w", err)
		}
	}
	writer.Flush()
	err := writer.Error()
	if err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	return nil
}

// harmless keeps a spreadsheet from taking a cell for a formula, also behind blanks, which some programs cut off.
func harmless(cell string) string {
	begins := strings.TrimLeft(cell, " \t\r\n\u00a0\ufeff")
	if strings.IndexAny(cell, "\t\r") == 0 || strings.IndexAny(begins, "=+-@＝＋－＠") == 0 {
		return "'" + cell
	}
	return cell
}

func entityLines(e *ententev1.ViewEntity, banners []string) [][]string {
	item := &exportedItem{
		kind: short(e.GetKind()), id: hex.EncodeToString(e.GetEntityId()), handling: conditionsText(e.GetHandling()),
		classification: classificationText(e.GetClassification()), banners: strings.Join(banners, " | "), sources: e.GetSources(),
	}
	item.facts(e.GetFacts())
	for _, role := range e.GetRoles() {
		item.role(role)
	}
	for _, reason := range e.GetMergeReasons() {
		item.add("merged because", reason, item.sources)
	}
	return item.all()
}

func associationLines(a *ententev1.ViewAssociation, banners []string) [][]string {
	item := &exportedItem{
		kind: "association", id: hex.EncodeToString(a.GetAssociationId()), handling: conditionsText(a.GetHandling()),
		classification: classificationText(a.GetClassification()), banners: strings.Join(banners, " | "), sources: a.GetSources(),
	}
	item.add("from", hex.EncodeToString(a.GetFromEntityId()), item.sources)
	item.add("association", short(a.GetKind()), item.sources)
	item.add("to", hex.EncodeToString(a.GetToEntityId()), item.sources)
	item.facts(a.GetFacts())
	return item.all()
}

func (i *exportedItem) facts(facts []*ententev1.ViewFact) {
	for _, fact := range facts {
		i.add(fact.GetField(), fact.GetValue(), sourcesAt(i.sources, fact.GetSources()))
	}
}

func (i *exportedItem) role(role *ententev1.ViewRole) {
	text := strings.Trim(short(role.GetRole())+"/"+short(role.GetPositionalRole()), "/")
	if len(role.GetGroupEntityId()) > 0 {
		text += " in " + hex.EncodeToString(role.GetGroupEntityId())
	}
	i.add("role", text, role.GetSources())
	for _, fact := range role.GetFacts() {
		i.add("role "+fact.GetField(), fact.GetValue(), sourcesAt(role.GetSources(), fact.GetSources()))
	}
}

// all gives the lines; what has no value has one all the same, so that its conditions are told.
func (i *exportedItem) all() [][]string {
	if len(i.lines) == 0 {
		i.add("", "", i.sources)
	}
	return i.lines
}

// add is a line for one value with the sources that give it.
func (i *exportedItem) add(field, value string, sources []*ententev1.ViewSource) {
	var members, grades []string
	var earliest time.Time
	for _, source := range sources {
		members = append(members, source.GetProviderMember()+"/"+hex.EncodeToString(source.GetRecordId()))
		grades = append(grades, gradeText(source.GetEvaluation()))
		until := source.GetRetainUntil().AsTime()
		if source.GetRetainUntil() != nil && (earliest.IsZero() || until.Before(earliest)) {
			earliest = until
		}
	}
	retain := ""
	if !earliest.IsZero() {
		retain = earliest.Format(time.RFC3339)
	}
	i.lines = append(i.lines, []string{i.kind, i.id, field, value, strings.Join(members, "; "), strings.Join(grades, "; "),
		i.handling, i.classification, retain, i.banners})
}

// sourcesAt are the sources at the given places.
func sourcesAt(sources []*ententev1.ViewSource, places []uint32) []*ententev1.ViewSource {
	var found []*ententev1.ViewSource
	for _, place := range places {
		if int(place) < len(sources) {
			found = append(found, sources[place])
		}
	}
	return found
}

// conditionsText is the codes, and what H3 says in words.
func conditionsText(h *ententev1.HandlingConditions) string {
	if h.GetText() == "" {
		return handlingText(h)
	}
	return handlingText(h) + ": " + h.GetText()
}

// classificationText is the level of the common scale and the national marking; none given counts as the highest.
func classificationText(c *ententev1.Classification) string {
	level := short(c.GetLevel())
	if level == "" {
		level = short(ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL)
	}
	if c.GetNationalLabel() == "" {
		return level
	}
	return level + " (" + c.GetNationalLabel() + ")"
}
