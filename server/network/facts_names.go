package network

import "google.golang.org/protobuf/reflect/protoreflect"

// factName is the field of a fact: the field's name in the contract, a repeated one in the singular.
func factName(field protoreflect.FieldDescriptor) string {
	if !field.IsList() {
		return string(field.Name())
	}
	return singular(string(field.Name()))
}

// singular names one value of a repeated field. A field that is missing here keeps its plural; a test finds it.
func singular(plural string) string {
	switch plural {
	case "names":
		return "name"
	case "dates_of_birth":
		return "date_of_birth"
	case "nationalities":
		return "nationality"
	case "documents":
		return "document"
	case "residences":
		return "residence"
	case "images":
		return "image"
	case "occupations":
		return "occupation"
	case "addresses":
		return "address"
	case "countries":
		return "country"
	case "territories":
		return "territory"
	case "operating_models":
		return "operating_model"
	case "strategies":
		return "strategy"
	case "capabilities":
		return "capability"
	case "tie_bases":
		return "tie_basis"
	case "legal_businesses":
		return "legal_business"
	case "rank_titles":
		return "rank_title"
	case "seizures":
		return "seizure"
	case "languages":
		return "language"
	case "positions":
		return "position"
	case "ties":
		return "tie"
	}
	return plural // such as "communication" and "proceeds"
}
