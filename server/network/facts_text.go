package network

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// valueText is the canonical text of one value: equal values give equal text, in whatever record they stand. It is
// empty for a value that says nothing.
func valueText(field protoreflect.FieldDescriptor, value protoreflect.Value) string {
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return messageText(value.Message())
	case protoreflect.EnumKind:
		return enumText(field.Enum(), value.Enum())
	case protoreflect.BytesKind:
		return hex.EncodeToString(value.Bytes())
	case protoreflect.StringKind:
		return strings.TrimSpace(value.String())
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return strconv.FormatFloat(value.Float(), 'f', -1, 64)
	}
	return value.String()
}

// enumText is the name of a code without the name of its enumeration: "SUSPECT" for PERSON_STATUS_SUSPECT. Zero, which
// means "not given", is empty.
func enumText(enum protoreflect.EnumDescriptor, number protoreflect.EnumNumber) string {
	value := enum.Values().ByNumber(number)
	zero := enum.Values().ByNumber(0)
	if value == nil || number == 0 {
		return ""
	}
	prefix := strings.TrimSuffix(string(zero.Name()), "UNSPECIFIED")
	return strings.TrimPrefix(string(value.Name()), prefix)
}

// messageText writes the small messages of common.proto in the form that is usual for them, and any other one as its
// fields by name, in the order of the contract.
func messageText(m protoreflect.Message) string {
	switch content := m.Interface().(type) {
	case *timestamppb.Timestamp:
		return content.AsTime().UTC().Format(time.RFC3339Nano)
	case *ententev1.PartialDate:
		return dateText(content)
	case *ententev1.Period:
		return periodText(content)
	case *ententev1.PersonName:
		return personNameText(content)
	case *ententev1.TextName:
		return textNameText(content)
	case *ententev1.Address:
		return addressText(content)
	case *ententev1.IdentityDocument:
		return documentText(content)
	case *ententev1.CommunicationMeans:
		return communicationText(content)
	case *ententev1.Money:
		return moneyText(content)
	case *ententev1.Quantity:
		return thousandthsText(content.GetThousandths()) + " " + content.GetUnit()
	case *ententev1.MediaRef:
		return mediaText(content)
	}
	return fieldsText(m)
}

func fieldsText(m protoreflect.Message) string {
	var parts []string
	for _, f := range messageFacts(nil, m) {
		parts = append(parts, f.field+" "+f.value)
	}
	return strings.Join(parts, ", ")
}

// dateText writes a date after ISO 8601, cut off where it is not known: "1980-03-07", "1980-03", "1980". About 1980 is
// "~1980"; a range is "1980/1985-06".
func dateText(d *ententev1.PartialDate) string {
	text := isoText(d.GetYear(), d.GetMonth(), d.GetDay())
	switch d.GetPrecision() {
	case ententev1.DatePrecision_DATE_PRECISION_APPROXIMATE:
		return "~" + text
	case ententev1.DatePrecision_DATE_PRECISION_RANGE:
		return text + "/" + isoText(d.GetUntilYear(), d.GetUntilMonth(), d.GetUntilDay())
	case ententev1.DatePrecision_DATE_PRECISION_YEAR:
		return isoText(d.GetYear(), 0, 0)
	case ententev1.DatePrecision_DATE_PRECISION_MONTH:
		return isoText(d.GetYear(), d.GetMonth(), 0)
	}
	return text
}

// isoText writes the parts that are known; a part that is missing before one that is known is written XX or XXXX.
func isoText(year, month, day uint32) string {
	yearText, monthText := "XXXX", "XX"
	if year != 0 {
		yearText = fmt.Sprintf("%04d", year)
	}
	if month != 0 {
		monthText = fmt.Sprintf("%02d", month)
	}
	switch {
	case day != 0:
		return fmt.Sprintf("%s-%s-%02d", yearText, monthText, day)
	case month != 0:
		return yearText + "-" + monthText
	case year != 0:
		return yearText
	}
	return ""
}

// periodText writes both ends; one that is open or not known is "..".
func periodText(p *ententev1.Period) string {
	from, to := dateText(p.GetFrom()), dateText(p.GetTo())
	if from == "" && to == "" {
		return ""
	}
	if from == "" {
		from = ".."
	}
	if to == "" {
		to = ".."
	}
	return from + " to " + to
}

// personNameText writes "FAMILY, Given Patronymic"; a script other than Latin and a type other than primary follow:
// "ПЕТРОВ, Иван [Cyrl] (ALIAS)". A name without parts is written as in its original.
func personNameText(n *ententev1.PersonName) string {
	given := joinWords(n.GetTitle(), n.GetGiven(), n.GetPatronymic())
	family := strings.ToUpper(joinWords(n.GetFamily()))
	text := family
	switch {
	case family == "" && given == "":
		text = joinWords(n.GetFullOriginal())
	case family == "":
		text = given
	case given != "":
		text = family + ", " + given
	}
	return nameMarks(text, n.GetScript(), n.GetType())
}

func textNameText(n *ententev1.TextName) string {
	text := joinWords(n.GetText())
	if text == "" {
		text = joinWords(n.GetOriginal())
	}
	return nameMarks(text, n.GetScript(), n.GetType())
}

func nameMarks(text, script string, nameType ententev1.NameType) string {
	if text == "" {
		return ""
	}
	if script != "" && script != "Latn" {
		text += " [" + script + "]"
	}
	if nameType > ententev1.NameType_NAME_TYPE_PRIMARY {
		text += " (" + enumText(nameType.Descriptor(), nameType.Number()) + ")"
	}
	return text
}

// joinWords joins what is not empty with single spaces.
func joinWords(parts ...string) string {
	return strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
}

func joinParts(separator string, parts ...string) string {
	kept := parts[:0:0]
	for _, part := range parts {
		if part = joinWords(part); part != "" {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, separator)
}

func addressText(a *ententev1.Address) string {
	town := joinWords(a.GetPostalCode(), a.GetLocality())
	text := joinParts(", ", a.GetStreet(), town, a.GetRegion(), a.GetCountry())
	if text == "" {
		text = joinWords(a.GetOriginal())
	}
	return joinParts(" ", text, inPeriod(a.GetPeriod()))
}

func inPeriod(p *ententev1.Period) string {
	text := periodText(p)
	if text == "" {
		return ""
	}
	return "(" + text + ")"
}

func documentText(d *ententev1.IdentityDocument) string {
	text := joinWords(enumText(d.GetType().Descriptor(), d.GetType().Number()), d.GetNumber())
	text = joinParts(", ", text, d.GetIssuingCountry(), d.GetIssuingAuthority())
	if expires := dateText(d.GetExpiresOn()); expires != "" {
		text += ", valid to " + expires
	}
	if state := enumText(d.GetState().Descriptor(), d.GetState().Number()); state != "" {
		text += " (" + state + ")"
	}
	return text
}

func communicationText(c *ententev1.CommunicationMeans) string {
	kind := enumText(c.GetType().Descriptor(), c.GetType().Number())
	return joinWords(kind, c.GetPlatform(), c.GetValue(), inPeriod(c.GetPeriod()))
}

// moneyText writes the amount in minor units with the currency: how many make a whole is ISO 4217's to say.
func moneyText(m *ententev1.Money) string {
	text := fmt.Sprintf("%d minor units %s", m.GetMinorUnits(), m.GetCurrency())
	if date := dateText(m.GetDate()); date != "" {
		text += " on " + date
	}
	return text
}

func thousandthsText(n int64) string {
	text := strconv.FormatFloat(float64(n)/1000, 'f', 3, 64)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}

// mediaText names a file by its hash, and one of which only a perceptual hash is known by that.
func mediaText(m *ententev1.MediaRef) string {
	var parts []string
	if len(m.GetSha256()) > 0 {
		parts = append(parts, "sha256:"+hex.EncodeToString(m.GetSha256()))
	}
	if len(m.GetPerceptualHash()) > 0 {
		algorithm := enumText(m.GetPerceptualHashAlgorithm().Descriptor(), m.GetPerceptualHashAlgorithm().Number())
		parts = append(parts, strings.ToLower(algorithm)+":"+hex.EncodeToString(m.GetPerceptualHash()))
	}
	return strings.Join(parts, " ")
}
