"""What to tell a person whose config is not valid YAML: one line, in words that name the usual slip."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from yaml import MarkedYAMLError

    from bgjob.config_problems import Problems

TAB = "a tab stands where only blanks can indent"
BEGINS_WRONG = "a text that begins with {} must stand in quotes"
STRAY = (",", "]", "}")

# What PyYAML's two parsers say, where to look, and what it means; the first that fits counts. BEGIN is where the
# trouble began, END is where the parser gave up.
BEGIN, END = "begin", "end"
MEANINGS = (
    ("tab character", END, TAB),
    ("escape", END, "YAML knows no such escape; put the text in single quotes"),
    ("quoted scalar", BEGIN, "a quote opens here and is not closed"),
    ("an alias", BEGIN, BEGINS_WRONG.format("'*'")),
    ("an anchor", BEGIN, BEGINS_WRONG.format("'&'")),
    ("a tag", BEGIN, BEGINS_WRONG.format("'!'")),
    ("directive", BEGIN, BEGINS_WRONG.format("'%'")),
    ("flow sequence", BEGIN, "a '[' opens here, and then a ',' or the ']' is missing"),
    ("flow mapping", BEGIN, "a '{' opens here, and then a ',' or the '}' is missing"),
    ("flow node", END, "a '[' or '{' that opens before here is not closed"),
    ("mapping values are not allowed", END, "no ':' can stand here; begin a new line, or put the text in quotes"),
    ("expected ':'", BEGIN, "a ':' is missing after this key"),
    ("block scalar", BEGIN, "the text after '|' or '>' must begin on the next line, indented"),
    ("document start", END, "nothing more can stand here; is this line indented too little?"),
    ("block", END, "this line is not indented like the lines before it, or its '- ' or ':' is missing"),
)


def add_syntax_error(error: MarkedYAMLError, text: str, problems: Problems) -> None:
    """Note the parser's `error` in the file's `text` as a problem, in our words."""
    begin, end = error.context_mark or error.problem_mark, error.problem_mark or error.context_mark
    place, meaning = _meaning(f"{error.context} {error.problem}", text[end.index : end.index + 1] if end else "")
    mark = begin if place == BEGIN else end
    line, column = (mark.line, mark.column) if mark else (0, 0)
    problems.add_at(line + 1, column + 1, meaning)


def _meaning(said: str, character: str) -> tuple[str, str]:
    if "cannot start any token" in said or (character in STRAY and "flow" not in said):
        return END, TAB if character == "\t" else BEGINS_WRONG.format(ascii(character))
    for part, place, meaning in MEANINGS:
        if part in said:
            return place, meaning
    return END, "this is not valid YAML"
