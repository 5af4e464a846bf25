/* Scripts: names in the world's scripts, each with another spelling that is the same name.
 *
 * A broker files what is said of a name under its folded form. These are the names by which tests see whether two brokers fold alike: whether a store
 * that an earlier version filed is found again by this one, and whether two nodes on different versions of Node.js file the same. What is
 * easily lost in an editor (combining marks, spellings that are not in NFC) is written as escapes. */

export interface ScriptName {
  /** The script, and what is special about the name. */
  script: string;
  /** As it is given first. */
  handle: string;
  /** Another spelling of the same handle; the same where the script has no other. */
  again: string;
  tag: string;
  tagAgain: string;
}

function name(script: string, handle: string, again: string, tag: string, tagAgain: string): ScriptName {
  return { script, handle, again, tag, tagAgain };
}

/** Of scripts without case, in one spelling. */
function caseless(script: string, handle: string, tag: string): ScriptName {
  return name(script, handle, handle, tag, tag);
}

/** Names that every Node.js from 20 on takes, and folds alike: of Unicode 15 and before. */
export const scripts: readonly ScriptName[] = [
  // With case.
  name("Latin", "Zoe\u0308", "ZO\u00cb", "Cr\u00e8me", "cRE\u0300ME"),
  name("Latin, sharp s", "Straße", "STRASSE", "Maße", "MASSE"),
  name("Latin, capital sharp s", "GROẞ", "gross", "FUẞ", "fuß"),
  name("Latin, dotted capital I", "\u0130pek", "i\u0307PEK", "\u0130stanbul", "I\u0307STANBUL"),
  name("Latin, dotless i", "ışık", "ıŞıK", "kırk", "KıRK"),
  name("Latin, ligatures", "\ufb01ona", "FIONA", "e\ufb03cient", "EFFICIENT"),
  name("Latin, long s", "Wei\u017fe", "WEISE", "\u017fonne", "SONNE"),
  name("Latin, letters of units", "\u212bngstr\u00f6m", "a\u030angstro\u0308m", "\u212aelvin", "KELVIN"),
  name("Latin, two marks", "q\u0323\u0307", "Q\u0307\u0323", "Nguye\u0302\u0303n", "NGUY\u1ec4N"),
  name("Latin, letters that grow", "\u01f0on", "J\u030cON", "\u0149acht", "\u02bcNACHT"),
  name("Latin, digraphs", "\u01c5ep", "\u01c4EP", "\u01c8uba", "\u01c9UBA"),
  name("Latin, full width", "Ｗｈａｌｅ", "ＷＨＡＬＥ", "Ｓｏｎｇ", "ｓＯＮＧ"),
  name("Greek, final sigma", "Σίσυφος", "ΣΊΣΥΦΟΣ", "ὁδός", "ὉΔΌΣ"),
  name("Greek, iota below", "\u1fa0δή", "ὨΙΔΉ", "τῷ", "Τ\u03c9\u0342Ι"),
  name("Greek, marks apart", "Ευ\u0301α", "ΕΎΑ", "\u0390", "\u0399\u0308\u0301"),
  name("Cyrillic", "Андре\u0438\u0306", "АНДРЕЙ", "Ёлка", "\u0415\u0308ЛКА"),
  name("Armenian, ligatures", "Եր\u0587ան", "ԵՐԵՒԱՆ", "\ufb13\u0561", "ՄՆԱ"),
  name("Georgian", "თამარ", "ᲗᲐᲛᲐᲠ", "ღვინო", "ᲦᲕᲘᲜᲝ"),
  name("Georgian, church script", "Ⴇⴀⴋⴀⴐ", "ⴇႠႫႠႰ", "Ⴃⴃ", "ⴃႣ"),
  name("Cherokee", "ᏣᎳᎩ", "ꮳꮃꭹ", "ᎣᏏᏲ", "ꭳꮟᏺ"),
  name("Coptic", "Ⲁⲛⲛⲁ", "ⲀⲚⲚⲀ", "Ⲛⲟⲩⲧⲉ", "ⲛⲞⲨⲦⲈ"),
  name("Glagolitic", "Ⰰⰸⱏ", "ⰰⰈⰟ", "Ⰳⰾⰰ", "ⰳⰎⰀ"),
  name("Deseret", "\u{10414}\u{1042f}", "\u{1043c}\u{10407}", "\u{10400}\u{10429}", "\u{10428}\u{10401}"),
  name("Osage", "\u{104cf}\u{104d8}", "\u{104f7}\u{104b0}", "\u{104b1}\u{104da}", "\u{104d9}\u{104b2}"),
  name("Adlam", "\u{1e900}\u{1e923}", "\u{1e922}\u{1e901}", "\u{1e902}\u{1e925}", "\u{1e924}\u{1e903}"),
  name(
    "Old Hungarian",
    "\u{10c80}\u{10cc1}",
    "\u{10cc0}\u{10c81}",
    "\u{10c82}\u{10cc3}",
    "\u{10cc2}\u{10c83}",
  ),
  name("Warang Citi", "\u{118a0}\u{118c1}", "\u{118c0}\u{118a1}", "\u{118a2}\u{118c3}", "\u{118c2}\u{118a3}"),
  name("Medefaidrin", "\u{16e40}\u{16e61}", "\u{16e60}\u{16e41}", "\u{16e42}\u{16e63}", "\u{16e62}\u{16e43}"),
  name("Vithkuqi", "\u{10570}\u{10598}", "\u{10597}\u{10571}", "\u{10572}\u{1059a}", "\u{10599}\u{10573}"),
  // Without case, and with spellings that are the same under NFC.
  name("Hebrew", "שׁלום", "\u05e9\u05c1לום", "חַג", "ח\u05b7ג"),
  name("Arabic", "\u0622دم", "\u0627\u0653دم", "مُؤمن", "م\u064f\u0648\u0654من"),
  name("Devanagari", "\u0958लम", "\u0915\u093cलम", "फ़ारसी", "\u092b\u093cारसी"),
  name("Bengali", "বাংলা", "বাংলা", "\u09dcবি", "\u09a1\u09bcবি"),
  name("Gurmukhi", "ਪੰਜਾਬੀ", "ਪੰਜਾਬੀ", "\u0a5ear", "\u0a2b\u0a3cAR"),
  name("Oriya", "ଓଡ଼ିଆ", "ଓଡ\u0b3cିଆ", "ଦେଶ", "ଦେଶ"),
  name("Tamil", "தமிழ்", "தமிழ்", "கொடி", "க\u0bc6\u0bbeடி"),
  name("Kannada", "ಕನ್ನಡ", "ಕನ್ನಡ", "ಕೋಲು", "ಕ\u0cc6\u0cc2\u0cd5ಲು"),
  name("Malayalam", "മലയാളം", "മലയാളം", "കൊടി", "ക\u0d46\u0d3eടി"),
  name("Sinhala", "සිංහල", "සිංහල", "කෝට", "ක\u0dd9\u0dcf\u0dcaට"),
  name("Myanmar", "မြန်မာ", "မြန်မာ", "\u1026", "\u1025\u102e"),
  name("Balinese", "\u1b06ᬓᬮᬶ", "\u1b05\u1b35ᬓᬮᬶ", "ᬩᬮᬶ", "ᬩᬮᬶ"),
  name("Hiragana", "か\u3099く", "がく", "は\u309aん", "ぱん"),
  name("Katakana", "カ\u3099ス", "ガス", "ハ\u309aン", "パン"),
  name("Hangul", "\u1112\u1161\u11ab글", "한글", "노래", "\u1102\u1169\u1105\u1162"),
  name("Han, compatibility", "\ufa19社", "神社", "\uf9dc", "\u9686"),
  caseless("Han", "漢字", "鯨の歌"),
  caseless("Gujarati", "ગુજરાતી", "ગરબા"),
  caseless("Telugu", "తెలుగు", "పాట"),
  caseless("Thai", "ภาษาไทย", "ทะเล"),
  caseless("Lao", "ລາວ", "ນ້ຳ"),
  caseless("Tibetan", "བོད", "བོད་སྐད"),
  caseless("Khmer", "ខ្មែរ", "សមុទ្រ"),
  caseless("Ethiopic", "አማርኛ", "ባሕር"),
  caseless("Canadian syllabics", "ᐃᓄᒃᑎᑐᑦ", "ᐊᕐᕕᖅ"),
  caseless("Mongolian", "ᠮᠣᠩᠭᠣᠯ", "ᠳᠠᠯᠠᠢ"),
  caseless("Syriac", "ܫܠܡܐ", "ܝܡܐ"),
  caseless("Thaana", "ދިވެހި", "ކަނޑު"),
  caseless("N'Ko", "ߒߞߏ", "ߖߌ"),
  caseless("Bopomofo", "ㄅㄆㄇ", "ㄏㄞ"),
  caseless("Yi", "ꆈꌠ", "ꉬ"),
  caseless("Tifinagh", "ⵜⵉⴼⵉⵏⴰⵖ", "ⴰⵎⴰⵏ"),
  caseless("Vai", "ꕙꔤ", "ꕢ"),
  caseless("Javanese", "ꦗꦮ", "ꦱꦼꦒꦫ"),
  caseless("Cham", "ꨌꩌ", "ꨓꨧꨪ"),
  caseless("Gothic", "𐌲𐌿𐍄", "𐌼𐌰𐍂𐌴𐌹"),
  caseless("Cuneiform", "𒀭𒂗", "𒀀"),
  caseless("Arabic digits", "\u0661\u0662\u0663", "\u0661ا"),
];

/** Names with letters that came with Unicode 16: of these only a newer Node.js knows that they are letters, and which are the same. */
export const newerScripts: readonly ScriptName[] = [
  name("Garay", "\u{10d50}\u{10d71}", "\u{10d70}\u{10d51}", "\u{10d52}\u{10d73}", "\u{10d72}\u{10d53}"),
  name("Latin, letters of Unicode 16", "\ua7dbo", "\ua7daO", "\ua7dcu", "\u019bU"),
  name("Cyrillic, letter of Unicode 16", "\u1c89о", "\u1c8aО", "\u1c8aл", "\u1c89Л"),
  caseless("Todhri", "\u{105d0}\u{105d1}", "\u{105d2}\u{105d3}"),
  caseless("Sunuwar", "\u{11bc0}\u{11bc1}", "\u{11bc2}\u{11bc3}"),
  caseless("Gurung Khema", "\u{16100}\u{16101}", "\u{16102}\u{16103}"),
  caseless("Kirat Rai", "\u{16d43}\u{16d44}", "\u{16d45}\u{16d46}"),
  caseless("Tulu-Tigalari", "\u{11380}\u{11381}", "\u{11382}\u{11383}"),
  caseless("Ol Onal", "\u{1e5d0}\u{1e5d1}", "\u{1e5d2}\u{1e5d3}"),
];
