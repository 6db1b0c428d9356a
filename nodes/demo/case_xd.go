package demo

import ententev1 "entente.example/entente/proto/entente/v1"

// nationXD is Dravonia: where the goods come from. It is not in the project, grades in 6x6, and writes Cyrillic; beside
// the original stands the Latin form of the passport.
func nationXD() nation {
	return nation{
		id: "XD", country: "Dravonia", authority: "Central Criminal Directorate of Dravonia", law: "Police Act, article 9",
		scheme:   ententev1.EvaluationScheme_EVALUATION_SCHEME_6X6,
		grade:    "C2",
		entities: append(personsXD(), thingsXD()...),
		ties:     tiesXD(), roles: rolesXD(), library: libraryXD(),
		corrections: []entry{
			person("mirov", toAll, "B2", inStatus(wanted), male, nationality("XD"), cyrillic("Мыров", "Степан", "Ильич"),
				latin("Myrov", "Stepan", "Мыров Степан Ильич"), born(1969, 10, 27), passport("XD", "DR2908117"),
				remark("Warrant of 1 March.")),
		},
	}
}

// latin is the form of the name in a passport of Dravonia.
func latin(family, given, original string) personPart {
	return spelled(family, given, "ICAO 9303", original)
}

func personsXD() []entry {
	return []entry{
		person("korbanov", toAll, "A2", suspect("file 88/24"), male, nationality("XD"),
			cyrillic("Корбанёв", "Егор", "Павлович"), latin("Korbanev", "Egor", "Корбанёв Егор Павлович"),
			born(1974, 3, 12), passport("XD", "DR4471902")),
		person("dunmore", toAll, "C3", male, nationality("XA"), cyrillic("Данмор", "Алистер", ""),
			latin("Danmor", "Alister", "Данмор Алистер"), born(1968, 7, 1), passport("XA", "A0192837")),
		person("brandhoff", toAll, "D3", male, cyrillic("Брандгоф", "Маттиас", ""),
			latin("Brandgof", "Mattias", "Брандгоф Маттиас"), born(1971, 9, 0)),
		person("belisle", toAll, "C3", male, cyrillic("Белиль", "Орельен", ""),
			latin("Belil", "Orelen", "Белиль Орельен"), passport("XC", "14CV88231")),
		person("mirov", toAll, "B2", suspect("ship's papers"), male, nationality("XD"),
			cyrillic("Мыров", "Степан", "Ильич"), latin("Myrov", "Stepan", "Мыров Степан Ильич"),
			born(1969, 10, 27), passport("XD", "DR2908117")),
		person("sorokina", toAll, "A1", suspect("three firms at one address"), female, nationality("XD"),
			cyrillic("Сорокина", "Елена", "Андреевна"), latin("Sorokina", "Elena", "Сорокина Елена Андреевна"),
			born(1982, 5, 30), passport("XD", "DR5530117")),
		person("zhukovets", toAll, "A1", suspect("courier runs"), male, nationality("XD"),
			cyrillic("Жуковец", "Арсений", "Львович"), latin("Zhukovets", "Arsenii", "Жуковец Арсений Львович"),
			born(1988, 6, 16), passport("XD", "DR8800641")),
		person("okray", toAll, "C3", male, cyrillic("Окрай", "Томас", ""), latin("Okrai", "Tomas", "Окрай Томас"),
			born(1983, 4, 4), passport("XA", "A0610733")),
		person("chernavin", toAll, "A1", suspect("pilotage of unlit boats"), male, nationality("XD"),
			cyrillic("Чернавин", "Глеб", "Олегович"), latin("Chernavin", "Gleb", "Чернавин Глеб Олегович"),
			born(1977, 7, 7), passport("XD", "DR3316649")),
		person("ritterau", toAll, "C3", male, cyrillic("Риттерау", "Клаус", ""),
			latin("Ritterau", "Klaus", "Риттерау Клаус"), born(1975, 10, 0)),
		person("shvedko", toAll, "A1", suspect("SIM cards by the box"), female, nationality("XD"),
			cyrillic("Шведко", "Ирина", "Юрьевна"), latin("Shvedko", "Irina", "Шведко Ирина Юрьевна"),
			born(1991, 12, 24), passport("XD", "DR9042210")),
		person("yarin", toAll, "A1", inStatus(convicted), male, nationality("XD"), cyrillic("Ярин", "Демьян", "Кузьмич"),
			latin("Iarin", "Demian", "Ярин Демьян Кузьмич"), born(1984, 4, 18), passport("XD", "DR7719023")),
		person("tarrant", toAll, "D4", male, cyrillic("Таррант", "Джоэл", ""),
			latin("Tarrant", "Dzhoel", "Таррант Джоэл"), born(1992, 11, 20)),
		person("pogodaev", toAll, "B2", suspect("workshop at Nizhny Lug"), male, nationality("XD"),
			cyrillic("Погодаев", "Ринат", "Маратович"), latin("Pogodaev", "Rinat", "Погодаев Ринат Маратович"),
			born(1980, 2, 2), passport("XD", "DR6603319")),
		person("velikopol", toAll, "B2", suspect("head of the river crews"), male, nationality("XD"),
			cyrillic("Великополь", "Борис", "Евсеевич"), latin("Velikopol", "Boris", "Великополь Борис Евсеевич"),
			born(1961, 6, 1)),
		person("ozerin", toAll, "B2", suspect("forged seaman's books"), male, nationality("XD"),
			cyrillic("Озерин", "Лука", "Тихонович"), latin("Ozerin", "Luka", "Озерин Лука Тихонович"), born(1979, 1, 15)),
		person("tikhodol", toOne, "B3", suspect("stamps without inspection"), male, cyrillic("Тиходол", "Антон", ""),
			latin("Tikhodol", "Anton", "Тиходол Антон"), works("river customs")).
			under("For Arvania and the merge only; serving official."),
		person("granina", atHome, "B2", inStatus(witness), female, cyrillic("Гранина", "Ольга", ""), born(1966, 9, 9)),
		person("lugovets", atHome, "C3", suspect("early inquiry"), male, cyrillic("Луговец", "Пётр", ""), born(1994, 0, 0)),
	}
}

func thingsXD() []entry {
	return []entry{
		group("brotherhood", toAll, "A2", &ententev1.CriminalGroup{
			Names: []*ententev1.TextName{{
				Text: "Zarechnoe bratstvo", Original: "Зареченское братство", Transliteration: "ICAO 9303",
			}},
			Structure: ententev1.GroupStructure_GROUP_STRUCTURE_CLUSTERED_HIERARCHY, SizeMin: 50, SizeMax: 90,
			ActiveSince: date(2003, 0, 0), MainCrimeArea: drugs, Countries: []string{"XD", "XA", "XB"},
			Territories:     []string{"Zarechny district of Volnogorye", "lower river"},
			OperatingModels: []ententev1.OperatingModel{ententev1.OperatingModel_OPERATING_MODEL_BROKERED},
			Strategies: []ententev1.GroupStrategy{
				ententev1.GroupStrategy_GROUP_STRATEGY_EXPANSION, ententev1.GroupStrategy_GROUP_STRATEGY_COUNTER_MEASURES,
			},
			TieBases:      []ententev1.TieBasis{district, military, ententev1.TieBasis_TIE_BASIS_RITUAL},
			Violence:      ententev1.Extent_EXTENT_REGULAR,
			StrategyNotes: "Each crew knows only its broker.",
		}),
		group("kiln", toAll, "B2", &ententev1.CriminalGroup{
			Names:         []*ententev1.TextName{{Text: "Krasnaia pech", Original: "Красная печь"}},
			Structure:     ententev1.GroupStructure_GROUP_STRUCTURE_CORE_GROUP,
			MainCrimeArea: weapons, Countries: []string{"XD", "XB"}, SizeMin: 8, SizeMax: 12,
		}),
		group("harbour", toAll, "C3", &ententev1.CriminalGroup{
			Names:         []*ententev1.TextName{{Text: "Portovaia kompaniia", Original: "Портовая компания"}},
			MainCrimeArea: drugs, Countries: []string{"XA"},
		}),
		company("volna", toAll, "A1", "OOO Volna-Lug", "XD", "DRV-1180447", "river freight", founded),
		company("firms", toAll, "A1", "OOO Sorlen", "XD", "DRV-1180501", "consulting", founded),
		account("acc-volna", toAll, "B2", "XD18VOLN0001180447", "XD", "Volnogorye River Bank", "OOO Volna-Lug"),
		account("acc-sorokina", toAll, "B2", "XB90LIND0000553011", "XB", "Sparbank Lindhafen", "Sorokina E. A."),
		phone("ph-ferry", toAll, "A1", "+999400770011"),
		phone("ph-velikopol", toAll, "B2", "+999400770025"),
		vehicle("jeep", toAll, "A1", "D 417 VK", "XD", "Uvalets", "4", "green"),
		vessel("petrel", toAll, "B2", "Petrel", "1234567", "999123456", "XA"),
		firearm("carbine", toAll, "A1", ententev1.FirearmType_FIREARM_TYPE_RIFLE, "Orlik", "7.62 mm", "OR-90021"),
		place("landingstage", toAll, "A1", stash, "Old landing stage", address("XD", "Nizhny Lug", "Naberezhnaya 40")),
		place("workshop", toAll, "B2", laboratory, "Brick kiln", address("XD", "Nizhny Lug", "Kirpichnaya 2")),
		event("loading", toAll, "B2", shipment, "Loading of the Petrel", date(2025, 12, 28),
			address("XD", "Nizhny Lug", "Naberezhnaya 40"), "Eleven drums, at night, without lights."),
		event("roundup", toAll, "A1", arrest, "Arrests on the river", date(2026, 1, 11),
			address("XD", "Volnogorye", "Zarechny"), "Five detained, three released."),
		caseFile("reka", toAll, "A1", "CCD 88/24", "Case Reka", "River crews that supply foreign ports.", "XD", "XA"),
		goods("drums", toAll, "B2", ententev1.CommodityType_COMMODITY_TYPE_PRECURSOR, "solvent", 900, "fruit drums"),
	}
}

func tiesXD() []tieRow {
	return []tieRow{
		tie("velikopol", leads, "brotherhood", confirmed, strong),
		tie("korbanov", memberOf, "brotherhood", confirmed, strong),
		tie("mirov", memberOf, "brotherhood", confirmed),
		tie("zhukovets", memberOf, "brotherhood"),
		tie("yarin", memberOf, "brotherhood", confirmed),
		tie("pogodaev", leads, "kiln", confirmed),
		tie("dunmore", memberOf, "harbour"),
		tie("kiln", subordinateTo, "brotherhood", weak),
		tie("brotherhood", supplies, "harbour", strong),
		tie("kiln", supplies, "brotherhood"),
		tie("korbanov", reportsTo, "velikopol", strong),
		tie("mirov", reportsTo, "korbanov", confirmed),
		tie("zhukovets", reportsTo, "korbanov"),
		tie("yarin", reportsTo, "mirov", confirmed),
		tie("korbanov", meets, "dunmore brandhoff", seen(2, date(2025, 8, 0), date(2025, 12, 0))),
		tie("korbanov", talksTo, "belisle okray", weak),
		tie("velikopol", finances, "korbanov"),
		tie("sorokina", laundersFor, "velikopol korbanov", confirmed),
		tie("velikopol", pays, "tikhodol", sum(6000)),
		tie("tikhodol", protects, "mirov"),
		tie("korbanov", recruits, "shvedko zhukovets"),
		tie("mirov", recruits, "chernavin"),
		tie("pogodaev", supplies, "ritterau"),
		tie("ozerin", supplies, "mirov chernavin"),
		tie("chernavin", travelsWith, "tarrant", seen(4, date(2025, 7, 0), date(2025, 12, 0))),
		tie("korbanov", relatedTo, "mirov", ground(military), confirmed),
		tie("velikopol", relatedTo, "yarin", kin(ententev1.KinshipDegree_KINSHIP_DEGREE_IN_LAW)),
		tie("shvedko", relatedTo, "sorokina", kin(sibling)),
		tie("velikopol", controls, "volna"),
		tie("sorokina", directorOf, "volna firms", confirmed),
		tie("volna", holdsAccount, "acc-volna", confirmed),
		tie("sorokina", holdsAccount, "acc-sorokina", confirmed),
		tie("acc-volna", transfersTo, "acc-sorokina", sum(310000), confirmed),
		tie("korbanov", uses, "ph-ferry jeep", confirmed),
		tie("velikopol", uses, "ph-velikopol"),
		tie("ph-ferry", talksTo, "ph-velikopol", confirmed, seen(120, date(2025, 3, 0), date(2026, 1, 0))),
		tie("mirov", drives, "petrel"),
		tie("pogodaev", uses, "workshop", confirmed),
		tie("carbine", seizedFrom, "yarin", confirmed),
		tie("drums", seizedFrom, "landingstage", confirmed),
		tie("loading", locatedAt, "landingstage", confirmed),
		tie("petrel", presentAt, "loading", confirmed),
		tie("mirov", presentAt, "loading"),
		tie("yarin", presentAt, "roundup", confirmed),
		tie("korbanov", involvedIn, "reka", confirmed),
		tie("velikopol", involvedIn, "reka", confirmed),
		tie("granina", worksFor, "volna", confirmed),
		tie("lugovets", worksFor, "volna", everywhere), // he never leaves home
	}
}

func rolesXD() []roleRow {
	return []roleRow{
		role("korbanov", "brotherhood", supplier, 2012, sure, positioned(extender)),
		role("velikopol", "brotherhood", organiser, 2003, sure, positioned(core)),
		role("sorokina", "", financier, 2018, money),
		role("mirov", "brotherhood", transporter, 2015, sure),
		role("dunmore", "harbour", distributor, 2018),
		role("pogodaev", "kiln", producer, 2016),
		role("ozerin", "", forger, 2020, sure),
		role("tikhodol", "", official, 2022, office("river customs")),
		role("shvedko", "", technician, 2023),
		role("yarin", "brotherhood", strawOwner, 2019),
	}
}
