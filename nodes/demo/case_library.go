package demo

import ententev1 "entente.example/entente/proto/entente/v1"

// The practices and lessons of the case. They name methods and kinds of groups, never people.

func origin(title, originator string, areas ...ententev1.CrimeArea) *ententev1.LessonContext {
	return &ententev1.LessonContext{
		Title: title, Originator: originator, Date: date(2026, 1, 0), CrimeAreas: areas, Language: "en",
		GroupStructures: []ententev1.GroupStructure{ententev1.GroupStructure_GROUP_STRUCTURE_DEVOLVED_HIERARCHY},
	}
}

func validated(method, result string) []*ententev1.Validation {
	return []*ententev1.Validation{{ValidatedBy: "review board", Method: method, Result: result, Date: date(2026, 1, 0)}}
}

func practice(key string, to audience, about *ententev1.LessonContext, problem, description, limits, proof string) entry {
	return thing(key, to, "A1", &ententev1.GoodPractice{
		State: ententev1.LessonState_LESSON_STATE_VALIDATED, Context: about, Tlp: tlpOf(to), Sanitised: true,
		Observation: problem, Description: description, Contraindications: limits,
		Recommendation: "Try it in one unit for a quarter before it becomes a rule.",
		Validations:    validated("comparison with the year before", proof),
	}).about(about.CrimeAreas...)
}

func observation(key string, to audience, about *ententev1.LessonContext, observed string) entry {
	return thing(key, to, "B2", &ententev1.Lesson{
		Stage: ententev1.LessonStage_LESSON_STAGE_OBSERVATION, State: ententev1.LessonState_LESSON_STATE_OBSERVATION,
		Context: about, Tlp: tlpOf(to), Sanitised: true, Observation: observed,
	}).about(about.CrimeAreas...)
}

// lesson is one identified; with a proof it is learned.
func lesson(key string, to audience, about *ententev1.LessonContext, observed, why, conclusion, action, proof string) entry {
	l := &ententev1.Lesson{
		Stage:   ententev1.LessonStage_LESSON_STAGE_LESSON_IDENTIFIED,
		State:   ententev1.LessonState_LESSON_STATE_ACTION_ASSIGNED,
		Context: about, Tlp: tlpOf(to), Sanitised: true, Observation: observed, Discussion: why, Conclusion: conclusion,
		Recommendation:  action,
		RemedialActions: []*ententev1.RemedialAction{{Action: action, ActionBody: about.Originator, Due: date(2026, 9, 30)}},
	}
	if proof != "" {
		l.Stage = ententev1.LessonStage_LESSON_STAGE_LESSON_LEARNED
		l.State = ententev1.LessonState_LESSON_STATE_VALIDATED
		l.RemedialActions[0].Done = date(2026, 1, 20)
		l.Validations = validated("exercise", proof)
	}
	return thing(key, to, "A1", l).about(about.CrimeAreas...)
}

func tlpOf(to audience) ententev1.Tlp {
	if to == toAll {
		return ententev1.Tlp_TLP_GREEN
	}
	return ententev1.Tlp_TLP_AMBER
}

func libraryXA() []entry {
	return []entry{
		practice("seals", toAll, origin("Photograph seals twice", "Port unit", drugs),
			"Copied seals hid that containers had been opened on the quay.",
			"Photograph each seal at unloading and at the gate; a table compares the two for scratches and number.",
			"Not where the gate has no lighting.", "Nine openings found in a quarter, one the year before."),
		practice("rotation", toAll, origin("Rotate scan crews by lot", "Customs liaison", corruption, drugs),
			"Groups paid one shift for weeks ahead.",
			"Crews are drawn by lot an hour before the shift; phones stay in lockers.",
			"Needs at least four crews.", "No tip-off in six months."),
		lesson("early-search", toAll, origin("A search too early closes the route", "Operations", drugs),
			"A lone search was made while two partners still watched; all three lost the group.",
			"No one place held the plans of all partners.", "Searches are agreed before the day.",
			"Enter planned searches in the project's calendar.", "Three searches on one morning without a leak."),
		observation("phone-swap", toProject, origin("Phones change on the first of the month", "Analysis unit", drugs),
			"Expected: numbers change after an arrest. Happened: all change on the first, whatever occurs."),
	}
}

func libraryXB() []entry {
	return []entry{
		practice("loans", toAll, origin("Unsecured loans as a signal", "Financial unit", laundering),
			"Proceeds came back as loans between companies with no trade.",
			"Ask the register for loans above ten times the yearly turnover and look at the lender's lender.",
			"Useless where accounts are not published.", "Four fronts found in one year."),
		lesson("spelling", toAll, origin("One spelling is not enough", "Identification unit", forgery),
			"A wanted person passed because the search used one transliteration.",
			"Units wrote names by ear.", "Search by document and birth date as well.",
			"Record the name in its own script beside any transliteration.", "No miss in a test of two hundred names."),
		lesson("notaries", toProject, origin("Notaries see it first", "Financial unit", laundering, corruption),
			"Reports of notaries lay unread for months.", "They came on paper to another office.",
			"Reports must reach the case team.", "Give notaries a direct channel.", ""),
	}
}

func libraryXC() []entry {
	return []entry{
		practice("flour", toAll, origin("Weigh what should be uniform", "Street unit", drugs),
			"Cutting agents were moved in sacks of the right brand.",
			"Weigh a sample of sacks at road checks; a deviation over two per cent opens the load.",
			"Not for goods that dry out.", "Five loads in two months."),
		lesson("retaliation", toAll, origin("Seizures start quarrels", "Victim support", drugs, weapons),
			"After a seizure shots fell in the quarter.", "The loss was blamed on neighbours.",
			"Expect violence for ten days after.", "Plan patrols and victim support with the seizure.",
			"No injury after the next two."),
		observation("couriers", toProject, origin("Couriers hired by short video", "Online unit", drugs),
			"Expected: recruitment in bars. Happened: offers in short videos, gone within a day."),
	}
}

func libraryXD() []entry {
	return []entry{
		practice("river", toAll, origin("Listen for boats without lights", "River unit", drugs),
			"Boats were loaded at night out of sight.",
			"Cheap microphones on buoys report engines where no boat is announced.",
			"Not in ice.", "Eleven landings heard in a season."),
		lesson("released", toAll, origin("Released too soon", "Directorate", drugs),
			"Three of five detained were freed before partners could ask their questions.",
			"Partners learned of the arrests from the press.", "Tell partners within the hour.",
			"Name a duty officer for partners at each arrest.", ""),
	}
}
