package page

import (
	"golang.org/x/text/language"
)

// words holds the page's own texts. The element has all others.
type words struct{ title, noScript string }

// wordsByLang has the languages that the element speaks.
var wordsByLang = map[language.Base]words{
	base("en"): {"Chat", "This page needs JavaScript."},
	base("de"): {"Chat", "Diese Seite benötigt JavaScript."},
	base("fr"): {"Discussion", "Cette page nécessite JavaScript."},
	base("es"): {"Chat", "Esta página necesita JavaScript."},
	base("ja"): {"チャット", "このページには JavaScript が必要です。"},
	base("ar"): {"محادثة", "تحتاج هذه الصفحة إلى JavaScript."},
}

func base(lang string) language.Base { return language.MustParseBase(lang) }

// wordsOf returns the words in a language, or else in English.
func wordsOf(lang language.Tag) words {
	of, _ := lang.Base()
	if found, ok := wordsByLang[of]; ok {
		return found
	}
	return wordsByLang[base(defaultLang)]
}

// rightToLeft are the scripts that are written from right to left.
var rightToLeft = map[string]bool{
	"Adlm": true, "Arab": true, "Hebr": true, "Mand": true, "Nkoo": true, "Rohg": true, "Samr": true, "Syrc": true, "Thaa": true,
}

// direction returns "rtl" for a language that is written from right to left, and "" for all others.
func direction(lang language.Tag) string {
	if script, _ := lang.Script(); rightToLeft[script.String()] {
		return "rtl"
	}
	return ""
}
