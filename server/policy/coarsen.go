package policy

import (
	"math"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

const (
	// pointsPerDegree is to how many parts of a degree a point is rounded: about 11 kilometres at most.
	pointsPerDegree = 10
	// pointMoves is how many metres a point may move by that, rounded up.
	pointMoves = 10_000
	// farthest is the greatest uncertainty of a point that the contract allows, in metres.
	farthest = 20_100_000
	// lastYear is the last year that the contract can write.
	lastYear = 9999
)

// Coarsening is one row of the table of what is made coarser, for people to read.
type Coarsening struct {
	Of      string // the type of the value, in the words of the contract
	Becomes string // in words
	// by changes a value in place and says whether anything of it remains.
	by func(value proto.Message, field protoreflect.FieldDescriptor) bool
}

// Coarsenings is the table of what a treatment can make coarser, by the type of the value. Names and numbers cannot be made
// coarser, only left out.
func Coarsenings() []Coarsening {
	return []Coarsening{
		{"PartialDate", "its year; of a range the two years; left out where no year is known", coarsely(coarseDate)},
		{"Period", "the years in which it began and ended", coarsely(coarsePeriod)},
		{"Timestamp", "the first instant of its year (UTC), of valid_to that of the year after: only collected_at, valid_from and valid_to", coarseTime},
		{"Address", "its country and region", coarsely(coarseAddress)},
		{"GeoPoint", "the nearest tenth of a degree, with an uncertainty of at least 10 kilometres", coarsely(coarsePoint)},
		{"Money", "its first digit, the others 0, and the year of its date", coarsely(coarseMoney)},
		{"Quantity", "its first digit, the others 0", coarsely(coarseQuantity)},
	}
}

// coarsely lets a function for one type of value stand in the table.
func coarsely[T proto.Message](by func(T) bool) func(proto.Message, protoreflect.FieldDescriptor) bool {
	return func(value proto.Message, _ protoreflect.FieldDescriptor) bool { return by(value.(T)) }
}

// coarseningOf is how the values of a field are made coarser; nil where they cannot be.
func coarseningOf(field protoreflect.FieldDescriptor) func(proto.Message, protoreflect.FieldDescriptor) bool {
	if field.Message() == nil {
		return nil
	}
	for _, row := range Coarsenings() {
		if row.Of == string(field.Message().Name()) {
			return row.by
		}
	}
	return nil
}

// coarseDate keeps that a date is approximate: a year that is about right is not a year that is known.
func coarseDate(d *ententev1.PartialDate) bool {
	year, until, precision := d.GetYear(), d.GetUntilYear(), d.GetPrecision()
	switch precision {
	case ententev1.DatePrecision_DATE_PRECISION_RANGE, ententev1.DatePrecision_DATE_PRECISION_APPROXIMATE:
	default:
		precision = ententev1.DatePrecision_DATE_PRECISION_YEAR
	}
	if precision != ententev1.DatePrecision_DATE_PRECISION_RANGE {
		until = 0
	}
	proto.Reset(d)
	d.Year, d.UntilYear, d.Precision = year, until, precision
	return year != 0 || until != 0
}

func coarsePeriod(p *ententev1.Period) bool {
	if p.GetFrom() != nil && !coarseDate(p.GetFrom()) {
		p.From = nil
	}
	if p.GetTo() != nil && !coarseDate(p.GetTo()) {
		p.To = nil
	}
	return p.GetFrom() != nil || p.GetTo() != nil
}

// coarseTime rounds down; the end of a validity, which is excluded, is rounded up: rounded down it could lie before the
// beginning. An end without a year after it that the contract can write is left out.
func coarseTime(value proto.Message, field protoreflect.FieldDescriptor) bool {
	at := value.(*timestamppb.Timestamp)
	exact := at.AsTime()
	year := time.Date(exact.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
	if field.Name() == "valid_to" && exact.After(year) {
		year = year.AddDate(1, 0, 0)
	}
	at.Seconds, at.Nanos = year.Unix(), 0
	return year.Year() <= lastYear
}

func coarseAddress(a *ententev1.Address) bool {
	country, region := a.GetCountry(), a.GetRegion()
	proto.Reset(a)
	a.Country, a.Region = country, region
	return given(country, region)
}

// coarsePoint makes the uncertainty wider by as much as the point may have moved, so that the true place still lies within.
func coarsePoint(p *ententev1.GeoPoint) bool {
	latitude := math.Round(p.GetLatitude()*pointsPerDegree) / pointsPerDegree
	longitude := math.Round(p.GetLongitude()*pointsPerDegree) / pointsPerDegree
	moved := latitude != p.GetLatitude() || longitude != p.GetLongitude()
	uncertainty := min(farthest, p.GetUncertaintyM())
	if moved {
		uncertainty = min(farthest, uncertainty+pointMoves)
	}
	p.Latitude, p.Longitude, p.UncertaintyM = latitude, longitude, max(pointMoves, uncertainty)
	return true
}

func coarseMoney(m *ententev1.Money) bool {
	m.MinorUnits = firstDigit(m.GetMinorUnits())
	if m.GetDate() != nil && !coarseDate(m.GetDate()) {
		m.Date = nil
	}
	return true
}

func coarseQuantity(q *ententev1.Quantity) bool {
	q.Thousandths = firstDigit(q.GetThousandths())
	return true
}

// firstDigit puts 0 for all digits but the first: towards 0, so that a sum is never made greater than it was.
func firstDigit(n int64) int64 {
	unit := int64(1)
	for n/unit > 9 || n/unit < -9 {
		unit *= 10
	}
	return n / unit * unit
}
