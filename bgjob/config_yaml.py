"""The text of a config as YAML nodes; whatever YAML offers beyond lists, mappings and plain values is refused.

The nodes are made from the parser's events, in one flat loop: aliases are refused before anything could be multiplied
by them, depth costs no recursion, and nothing is ever constructed from a tag.
"""

from __future__ import annotations

import yaml

from bgjob.config_problems import shown
from bgjob.config_syntax import add_syntax_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeGuard

    from bgjob.config_problems import Problems

MOST_BYTES = 1024 * 1024
MOST_LEVELS = 20
_TOO_DEEP = f"lists and mappings stand in each other more than {MOST_LEVELS} deep"

# The C parser is ten times as fast, but PyYAML can be built without it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
RESOLVER: Any = yaml.resolver.Resolver()

# The tag of a node that is a problem already: readers pass over it in silence.
REFUSED = "!refused"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_text(content: bytes, problems: Problems) -> str:
    """Return the text of the file's bytes: UTF-8, with or without byte order mark, at most 1 MB.

    Raises ConfigError.
    """
    if len(content) > MOST_BYTES:
        problems.add_at(1, 1, "the file is larger than 1 MB", allowed=f"up to {MOST_BYTES} bytes")
        raise problems.error()
    written = content.removeprefix(BYTE_ORDER_MARK)
    try:
        return written.decode()
    except UnicodeDecodeError as error:
        before = written[: error.start].decode()
        what = f"byte 0x{written[error.start]:02x} is not UTF-8"
        problems.add_at(*_position_after(before), what, allowed="UTF-8; save the file in that encoding")
        raise problems.error() from None


def read_nodes(text: str, problems: Problems) -> yaml.Node:
    """Return the root node of the only document in `text`; raises ConfigError where there is none to go on with."""
    try:
        root = _build(text, problems)
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark
        # The C parser of newer versions gives up by itself.
        if mark is not None and "nesting depth" in (error.problem or ""):
            problems.add_at(mark.line + 1, mark.column + 1, _TOO_DEEP)
        else:
            add_syntax_error(error, text, problems)
        raise problems.error() from None
    except yaml.reader.ReaderError as error:
        character = chr(error.character)
        line, column = _position_after(text[: max(text.find(character), 0)])
        problems.add_at(line, column, f"the character {character!a} can't stand in YAML", allowed="text without it")
        raise problems.error() from None
    except (yaml.YAMLError, ValueError, OverflowError):  # the Python parser lets numbers in escapes overflow
        problems.add_at(1, 1, "this is not valid YAML")
        raise problems.error() from None
    if root is None or (isinstance(root, yaml.ScalarNode) and not root.value):
        problems.add_at(1, 1, "the file is empty", allowed="at least approved_classes and approved_methods")
        raise problems.error()
    return root


def is_plain_text(node: yaml.Node) -> TypeGuard[yaml.ScalarNode]:
    """Whether YAML itself reads this as text, and not as a number, truth value, date, nothing, list or mapping."""
    return bool(node.tag == RESOLVER.DEFAULT_SCALAR_TAG)


def is_scalar(node: yaml.Node) -> TypeGuard[yaml.ScalarNode]:
    """Whether the node is a single value, and not a list or mapping."""
    return isinstance(node, yaml.ScalarNode)


def _build(text: str, problems: Problems) -> yaml.Node | None:
    root: yaml.Node | None = None
    parents: list[yaml.CollectionNode] = []
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.DocumentStartEvent) and root is not None:
            problems.add(event, "a second document begins here", allowed="one document in the file")
            break
        if isinstance(event, yaml.CollectionEndEvent):
            _close(parents.pop(), problems)
        if not isinstance(event, yaml.NodeEvent):
            continue
        node = _node(event, problems)
        if parents:
            parents[-1].value.append(node)
        else:
            root = node
        if isinstance(node, yaml.CollectionNode):
            parents.append(node)
            if len(parents) > MOST_LEVELS:
                problems.add(event, _TOO_DEEP)
                raise problems.error()
    return root


def _node(event: yaml.NodeEvent, problems: Problems) -> yaml.Node:
    mark: Any = event.start_mark
    refusal = _refusal(event)
    if refusal:
        problems.add(event, refusal)
    if isinstance(event, yaml.SequenceStartEvent):
        return yaml.SequenceNode(RESOLVER.DEFAULT_SEQUENCE_TAG, [], mark)
    if isinstance(event, yaml.MappingStartEvent):
        return yaml.MappingNode(RESOLVER.DEFAULT_MAPPING_TAG, [], mark)
    if refusal or not isinstance(event, yaml.ScalarEvent):
        return yaml.ScalarNode(REFUSED, "refused", mark)
    tag = RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)
    return yaml.ScalarNode(tag, event.value, mark, style=event.style)


def _refusal(event: yaml.NodeEvent) -> str | None:
    if isinstance(event, yaml.AliasEvent):
        return f"an alias (*{event.anchor}) is not allowed; write out what it stands for, or put the text in quotes"
    if event.anchor is not None:
        return f"an anchor (&{event.anchor}) is not allowed; leave it out, or put the text in quotes"
    tag = getattr(event, "tag", None)
    if tag is not None:
        return f"a tag ({shown(tag)}) is not allowed; leave it out, or put the text in quotes"
    if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
        return "a merge key (<<) is not allowed; write out what it would bring"
    return None


def _close(node: yaml.CollectionNode, problems: Problems) -> None:
    """Give a mapping that is complete its pairs, and refuse keys that stand in it twice."""
    if not isinstance(node, yaml.MappingNode):
        return
    halves = iter(node.value)
    node.value = list(zip(halves, halves, strict=True))
    first_lines: dict[str, int] = {}
    for key, _ in node.value:
        if key.tag == REFUSED:
            continue
        if not is_scalar(key):
            problems.add(key, "a list or mapping stands where a key is wanted")
        elif key.value in first_lines:
            problems.add(key, f"{shown(key.value)} stands here twice, first in line {first_lines[key.value]}")
        else:
            first_lines[key.value] = key.start_mark.line + 1


def _position_after(text: str) -> tuple[int, int]:
    return text.count("\n") + 1, len(text) - text.rfind("\n")
