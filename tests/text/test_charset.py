import pytest

from text import CHARSET_PRESETS, CharCodec, Charset


@pytest.mark.parametrize("name", CHARSET_PRESETS)
def test_presets_have_the_size_they_are_called(name):
    charset = Charset.load(name)
    assert len(charset.characters) == int(name)
    assert charset.name == name
    assert charset.cased == (name != "36")


def test_94_is_the_order_of_the_official_sensitive_mode():
    import string

    assert Charset.load("94").characters == string.printable[:-6]


def test_uncased_charset_lowers_and_says_what_it_removes():
    normalized = Charset.load("36").normalize("It's-OK 24")
    assert normalized.text == "itsok24"
    assert normalized.removed == "'- "


def test_every_printable_character_survives_in_94():
    charset = Charset.load("94")
    assert charset.normalize(charset.characters).text == charset.characters


def test_composed_and_decomposed_letters_are_the_same():
    charset = Charset("aé")
    assert charset.normalize("e\u0301a").text == "éa"


def test_file_in_utf8(tmp_path):
    file = tmp_path / "charset.txt"
    file.write_text("\ufeffäöüß\nabc\\\n", encoding="utf-8")
    assert Charset.load(str(file)).characters == "äöüßabc\\"


def test_file_in_another_encoding_is_refused(tmp_path):
    file = tmp_path / "charset.txt"
    file.write_bytes("äöü".encode("latin-1"))
    with pytest.raises(ValueError, match="not UTF-8"):
        Charset.load(str(file))


@pytest.mark.parametrize(
    ("characters", "message"),
    [("", "empty"), ("abca", r"U\+0061 LATIN SMALL LETTER A"), ("a b", "White space")],
)
def test_useless_charsets_are_refused(characters, message):
    with pytest.raises(ValueError, match=message):
        Charset(characters)


def test_missing_file_is_said():
    with pytest.raises(ValueError, match=r"stand twice .*There is no file charsets/mine\.utf8"):
        Charset.load("charsets/mine.utf8")
    with pytest.raises(ValueError, match=r"no charset file nowhere\.txt"):
        Charset.load("nowhere.txt")


def test_char_codec_refuses_what_it_cannot_encode():
    codec = CharCodec(Charset.load("36"), max_length=5)
    with pytest.raises(ValueError, match="6 characters, and the limit is 5"):
        codec.encode("abcdef")
    with pytest.raises(ValueError, match="U\\+00E9"):
        codec.encode("é")


def test_characters_that_composing_changes_are_refused():
    with pytest.raises(ValueError, match=r"composed .*U\+0958"):
        Charset("\u0958a")


def test_many_characters_of_several_bytes_are_no_file_name():
    characters = "".join(map(chr, range(0x4E00, 0x4E00 + 200)))
    assert Charset.load(characters).characters == characters


def test_a_number_that_is_no_preset_is_refused():
    with pytest.raises(ValueError, match="There is no preset 95, only 36, 62, 94"):
        Charset.load("95")
    assert Charset.load("0123456789").characters == "0123456789"


def test_a_charset_is_gone_through_once_not_for_each_character():
    class Counted(str):
        def count(self, *_):
            raise AssertionError("of a huge charset, that takes minutes")

    with pytest.raises(ValueError, match="stand twice"):
        Charset(Counted("abca"))
