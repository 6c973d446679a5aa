"""A small language model with random weights, written on the spot, so that a fresh install has something to answer.

It is a real GGUF file (version 3, architecture llama, SentencePiece-style vocabulary) for a real llama.cpp server; only
its words mean nothing. It must, whatever the prompt, seed or temperature:

- always say something: left to itself it never samples an end of text, a control token or a raw byte, so it runs to
  the caller's output limit (where tools are offered: to the end of its first sentence);
- still end properly where a grammar (JSON schema) leaves nothing but the end, and get there soon;
- call a tool when the caller insists on it, and never of its own accord: a random argument to a real tool is no joke.

All three are done in the weights, since sampling options belong to the caller. The residual stream has a reserved part
that no layer writes into (the matching rows of `attn_output` and `ffn_down` are zero): dimension 0 is the same constant
for each token, and one further dimension for each class of token says which class the current one is. The rest is
random. The row of `output.weight` for a token then reads:

- dimension 0: for control and byte tokens hugely negative, else 0. The only token that a grammar leaves is still
  chosen, since nothing competes with it.
- the class dimensions: `FOLLOWS` below, what may come after what, in order of preference, `STEP` apart in log-odds. In
  free text words follow words. In JSON, where the grammar rules words out between strings, the order leads through a
  string of one word to the nearest closing bracket.
- the random dimensions: which word.

A server asks for a tool call with a grammar that allows any text before it but no end without it; the model cannot see
the grammar. So where the prompt offers tools (`<|tools|>`, which one head of the first layer looks for and writes
down in one more reserved dimension), it says one short sentence and then prefers the end, and next to it a call.
Where a call is optional the end is taken; where it is required the grammar refuses the end, and the call comes.

`attn_norm`, `ffn_norm` and `output_norm` shrink the reserved part, so that attention and embeddings see the random one;
`output.weight` takes the shrinking back. Weights come from uniform numbers of `random.Random`, whose sequence is the
same on every platform and version of Python, so the file's bytes are too.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import struct
import sys
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

#: Raised with every change of the file's bytes: it stands in the file's name.
VERSION = 1
NAME = "headgate demonstration (random weights)"
CONTEXT_TOKENS = 32768

SEED = 20250101
DIM = 64
HEADS = 4
FFN_DIM = 128
LAYERS = 2
ROPE_BASE = 1e9

#: How far apart, in log-odds, two neighbours in an order of preference are: e^-30 at temperature 2.
STEP = 60.0
#: What a token that must not be sampled freely gets, in log-odds. Finite, so that it can be chosen when alone.
NEVER = -100_000.0
#: Value of the constant and of the class dimensions in an embedding, against about 1 in the random ones.
MARK = 16.0
#: How much the norms shrink the reserved dimensions.
SHRINK = 1 / 64
#: Spread of the words' log-odds: enough that prompts differ, little enough that many words get their turn.
SPREAD = 1.8


class Kind(IntEnum):
    """Token types of the GGUF vocabulary."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    BYTE = 6


class Cls(IntEnum):
    """What a token is good for; see `FOLLOWS`. The value is its place among the class dimensions."""

    BREAK = 0  # control tokens and the line feed: a text begins after them
    BYTE = 1
    FIRST = 2  # capitalized, without a space: begins a text
    WORD = 3  # with a space
    HEAD = 4  # capitalized, with a space: begins a sentence
    STOP = 5
    COMMA = 6
    BARE = 7  # a word without a space: fills a JSON string
    QUOTE = 8
    OPEN = 9
    CLOSE = 10
    COLON = 11
    DIGIT = 12
    CHAR = 13  # the other printable characters
    SPACE = 14
    PIECE = 15  # the beginning of a word: makes prompts short, is never said
    TOOLS = 16  # `<|tools|>`: the prompt offers tools
    CALL = 17  # `<tool_call>`: a tool call begins
    CALLED = 18  # `</tool_call>`: it ends


#: The dimension that says whether `<|tools|>` came before, and the width of the reserved part.
TOOLS_SEEN = 1 + len(Cls)
RESERVED = TOOLS_SEEN + 1

_UNMARKED = (
    Cls.WORD,
    Cls.QUOTE,
    Cls.DIGIT,
    Cls.CHAR,
    Cls.OPEN,
    Cls.CLOSE,
    Cls.COLON,
    Cls.COMMA,
    Cls.STOP,
    Cls.BARE,
    Cls.SPACE,
    Cls.FIRST,
    Cls.HEAD,
    Cls.PIECE,
    Cls.BYTE,
    Cls.BREAK,
    Cls.TOOLS,
    Cls.CALL,
    Cls.CALLED,
)

#: What comes after each class, best first; classes that are not named come after those that are, in `_UNMARKED`'s
#: order. A word with its space cannot stand between the strings of a JSON text, so naming it first costs nothing
#: there. After a number or a string the nearest close is best, so that what is optional is left out. After a quote
#: that opens, the first choice is a bare word; after one that closes, the grammar forbids it.
FOLLOWS: dict[Cls, tuple[Cls, ...]] = {
    Cls.BREAK: (Cls.FIRST, Cls.WORD),
    Cls.FIRST: (Cls.WORD,),
    Cls.WORD: (Cls.WORD, Cls.STOP, Cls.COMMA, Cls.QUOTE),
    Cls.HEAD: (Cls.WORD,),
    Cls.STOP: (Cls.HEAD, Cls.WORD),
    Cls.QUOTE: (Cls.BARE, Cls.CLOSE, Cls.COLON, Cls.COMMA, Cls.CHAR, Cls.DIGIT),
    Cls.BARE: (Cls.QUOTE, Cls.BARE),
    Cls.CLOSE: (Cls.WORD, Cls.CLOSE, Cls.COMMA),
    Cls.DIGIT: (Cls.WORD, Cls.CLOSE, Cls.COMMA, Cls.DIGIT),
    Cls.CHAR: (Cls.WORD, Cls.CLOSE, Cls.COMMA, Cls.QUOTE),
    Cls.SPACE: (Cls.FIRST,),
}

#: In running text a stop or a comma is as likely as one of the likelier words.
_PUNCTUATION_BONUS = {Cls.STOP: 2.8 * SPREAD, Cls.COMMA: 2.2 * SPREAD}
#: Log-odds that a stop gains where tools are offered: such an answer is one short sentence.
_BRIEF = 1.5

_WORDS = """
the of and to in is it that was for on are with as at be this have from or one had by but not what all were when we
there can an your which their said if do will each about how up out them then she many some so these would other into
has more her two like him see time could no make than first been its who now people my made over did down only way find
use may water long little very after words called just where most know get through back much before go good new write
our used me man too any day same right look think also around another came come work three word must because does part
even place well such here take why things help put years different away again off went old number great tell men say
small every found still between name should home big give air line set own under read last never us left end along
while might next sound below saw something thought both few those always looked show large often together asked house
world going want school important until form food keep children feet land side without boy once animals life enough
took sometimes four head above kind began almost live page got earth need far hand high year mother light parts country
father let night following picture being study second eyes soon times story boys since white days ever paper hard near
sentence better best across during today others however sure means knew try told young miles sun ways thing whole hear
example heard several change answer room sea against top turned learn point city play toward five using himself usually
money seen car morning body upon family later turn move face door cut done group leave color red friends pretty
green river garden winter summer window bridge music letter bread stone silver quiet gentle morning harbor valley
meadow candle lantern copper basket feather
"""

#: Which words may begin a text, a sentence or fill a string: every so many-th of the list, all harmless by themselves.
_NOUNS = """
water time people words day work part place things years number name home air line house world school form food land
side life head kind page earth hand year light country night picture study eyes story paper sentence sun room sea top
point city play morning body family face door group color friends river garden winter summer window bridge music letter
bread stone silver meadow candle lantern copper basket feather valley harbor
"""
_STARTERS = "the a one when we there your if some many these after how every while near once our most in on at for"

CHAT_TEMPLATE = """\
{%- if tools -%}
<|turn|>system
<|tools|>{% if messages and messages[0].role == 'system' %}{{ messages[0].content }}

{% endif %}Tools, one per line:
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}Call a tool with {"name": its name, "arguments": its arguments} between <tool_call> and </tool_call>.<|end|>
{% elif messages and messages[0].role == 'system' -%}
<|turn|>system
{{ messages[0].content }}<|end|>
{% endif -%}
{%- for message in messages -%}
{%- if not (loop.first and message.role == 'system') -%}
<|turn|>{{ message.role }}
{% if message.content %}{{ message.content }}{% endif %}
{%- for call in message.tool_calls or [] %}
<tool_call>{"name": {{ call.function.name | tojson }}, "arguments": {{ call.function.arguments | tojson }}}</tool_call>
{%- endfor -%}
<|end|>
{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|turn|>assistant
{% endif -%}
"""

_SPACE_MARK = "\u2581"
_UNK_ID, _BOS_ID, _EOS_ID, _END_ID = 0, 1, 2, 4
_END, _CALL, _CALLED = "<|end|>", "<tool_call>", "</tool_call>"


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of the vocabulary."""

    text: str
    kind: Kind
    cls: Cls
    score: float = 0.0


def vocabulary() -> list[Token]:
    """The tokens in order of their ids: control, bytes, characters, words, and the pieces that lead to words."""
    tokens = [Token("<unk>", Kind.UNKNOWN, Cls.BREAK)]
    tokens += [Token(text, Kind.CONTROL, Cls.BREAK) for text in ("<s>", "</s>", "<|turn|>", _END)]
    tokens.append(Token("<|tools|>", Kind.CONTROL, Cls.TOOLS))
    tokens.append(Token(_CALL, Kind.USER_DEFINED, Cls.CALL))
    tokens.append(Token(_CALLED, Kind.USER_DEFINED, Cls.CALLED))
    for byte in range(256):
        tokens.append(Token(f"<0x{byte:02X}>", Kind.BYTE, Cls.BREAK if byte == ord("\n") else Cls.BYTE))
    for code in range(0x20, 0x7F):
        char = chr(code)
        tokens.append(Token(_SPACE_MARK if char == " " else char, Kind.NORMAL, _class_of(char), -100.0))
    seen = {token.text for token in tokens}

    def add(texts: Iterable[str], cls: Cls) -> None:
        for text in texts:
            if text not in seen:
                seen.add(text)
                # A longer piece has the higher score: the tokenizer joins pieces from the left up to the whole word.
                tokens.append(Token(text, Kind.NORMAL, cls, float(len(text)) - 50))

    words = _WORDS.split()
    add((_SPACE_MARK + word for word in words), Cls.WORD)
    add((_SPACE_MARK + word.capitalize() for word in _STARTERS.split()), Cls.HEAD)
    add((word.capitalize() for word in _STARTERS.split() if len(word) > 1), Cls.FIRST)
    add(_NOUNS.split(), Cls.BARE)
    add((_SPACE_MARK + word[:cut] for word in words for cut in range(1, len(word))), Cls.PIECE)
    return tokens


def _class_of(char: str) -> Cls:
    if char.isdigit():
        return Cls.DIGIT
    return {
        " ": Cls.SPACE,
        '"': Cls.QUOTE,
        "{": Cls.OPEN,
        "[": Cls.OPEN,
        "}": Cls.CLOSE,
        "]": Cls.CLOSE,
        ":": Cls.COLON,
        ",": Cls.COMMA,
        ".": Cls.STOP,
    }.get(char, Cls.CHAR)


def write(path: Path) -> None:
    """Writes the model to `path`, whole or not at all: a temporary file beside it, synced, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(_file())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    with contextlib.suppress(OSError):  # not every system lets a directory be opened
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def ensure(home: Path) -> Path:
    """The model's file under `home`, written if it is not there whole.

    Two processes at once each write a file of their own and rename it over the other's; the bytes are the same.
    """
    path = home / "demo" / f"headgate-demo-v{VERSION}.gguf"
    if not _is_whole(path):
        write(path)
    return path


def _is_whole(path: Path) -> bool:
    head, _ = _layout(vocabulary())
    try:
        with path.open("rb") as file:
            return file.read(len(head)) == head and os.fstat(file.fileno()).st_size == size_bytes()
    except OSError:
        return False


def size_bytes() -> int:
    """The size of the whole file."""
    head, tensors = _layout(vocabulary())
    return len(head) + sum(_padded(tensor.size_bytes) for tensor in tensors)


# --- weights ---------------------------------------------------------------------------------------------------------


#: Tokens that stop being unlikely where tools are offered and a token of one of these classes came last: each of the
#: two lifts by a share of -NEVER that is less than the whole, and more than half of it.
_GATES: dict[str, tuple[tuple[Cls, ...], float]] = {
    _END: ((Cls.STOP, Cls.CALLED), 0.6),
    _CALL: ((Cls.STOP,), 0.55),
    _CALLED: ((Cls.CLOSE,), 0.55),
}

#: How much longer, about, a matrix makes what goes through it: attention is looked at more than the feed-forward part,
#: so that an answer depends on its prompt.
_GAIN = {"attn_q": 2.0, "attn_k": 2.0, "attn_output": 2.0, "ffn_down": 0.5}


class _Weights:
    """The tensors' values, drawn one after the other from one sequence."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._uniform = random.Random(SEED).random  # noqa: S311  (a model's weights, no secret)

    def _row(self, width: int, spread: float) -> list[float]:
        """`width` random numbers of mean 0 and standard deviation `spread`."""
        reach = spread * math.sqrt(3)
        uniform = self._uniform
        return [(2 * uniform() - 1) * reach for _ in range(width)]

    def values(self, name: str, columns: int, rows: int) -> array[float]:
        values: array[float] = array("f")
        kind = name.removesuffix(".weight").rpartition(".")[2]
        watching = name.startswith("blk.0.attn_")
        for row in range(rows):
            drawn = self._values_of(kind, columns, row)
            values.extend(_watch(kind, row, drawn) if watching else drawn)
        return values

    def _values_of(self, kind: str, columns: int, row: int) -> list[float]:
        if kind == "token_embd":
            return self._embedding(self._tokens[row])
        if kind == "output":
            return self._unembedding(self._tokens[row])
        if kind.endswith("norm"):
            scale = 1.0 if kind == "output_norm" else 3.0
            return [SHRINK] * RESERVED + [scale] * (columns - RESERVED)
        gain = _GAIN.get(kind, 1.0) / math.sqrt(columns)
        if kind in ("attn_output", "ffn_down") and row < RESERVED:
            return [0.0] * columns
        return self._row(columns, gain)

    def _embedding(self, token: Token) -> list[float]:
        marks = [MARK] + [0.0] * (RESERVED - 1)
        marks[1 + token.cls] = MARK
        return marks + self._row(DIM - RESERVED, 1.0)

    def _unembedding(self, token: Token) -> list[float]:
        marks = [0.0] * RESERVED
        if token.kind is Kind.NORMAL:
            marks[1:TOOLS_SEEN] = [_preference(current, token.cls) for current in Cls]
            marks[TOOLS_SEEN] = _BRIEF if token.cls is Cls.STOP else 0.0
        else:
            marks[0] = NEVER
            openers, share = _GATES.get(token.text, ((), 0.0))
            for opener in openers:
                marks[1 + opener] = marks[TOOLS_SEEN] = -NEVER * share
        unit = SHRINK * _NORMED_MARK
        # The random part of a normed state has about this length.
        length = math.sqrt(DIM - RESERVED) * _NORMED_MARK / MARK * 1.5
        spread = SPREAD if token.cls in _SPREAD_OUT else SPREAD / 5
        return [mark / unit for mark in marks] + self._row(DIM - RESERVED, spread / length)


def _watch(kind: str, row: int, drawn: list[float]) -> list[float]:
    """A row of the first layer's attention, with head 0 made to look for `<|tools|>` and to write `TOOLS_SEEN`.

    Its query is the same everywhere and its key is 0 for every other token, so that it sees that token alone where
    there is one, and an average of zeros where there is none. Query and key stand in the last pair of dimensions of
    the head, which the rotary encoding hardly turns at this base frequency.
    """
    unit = SHRINK * MARK / math.sqrt((2 * MARK**2 + DIM - RESERVED) / DIM)  # a mark after the norm, without layers
    width = DIM // HEADS
    if kind == "attn_output":
        if row == TOOLS_SEEN:
            drawn = [MARK] + [0.0] * (DIM - 1)
        return drawn
    if kind == "attn_norm" or row >= width:
        return drawn
    drawn = [0.0] * DIM
    if kind == "attn_v" and row == 0:
        drawn[1 + Cls.TOOLS] = 1 / unit
    if kind in ("attn_q", "attn_k") and row == width - 1:
        score = 40.0  # e^40 against the thousands of tokens of a long prompt
        drawn[0 if kind == "attn_q" else 1 + Cls.TOOLS] = math.sqrt(score * math.sqrt(width)) / unit
    return drawn


#: The classes whose members differ in what they follow. The others are about as likely after one word as after another,
#: so that sentences stay short and each value of an enumeration gets its turn.
_SPREAD_OUT = frozenset({Cls.WORD, Cls.FIRST, Cls.HEAD, Cls.BARE, Cls.PIECE})

#: About what the constant comes to after the last norm: two marks, and random values of about 1.5, over the width.
_NORMED_MARK = MARK / math.sqrt((2 * MARK**2 + (DIM - RESERVED) * 1.5**2) / DIM)


def _preference(current: Cls, following: Cls) -> float:
    """The log-odds that class `following` gets after class `current`."""
    if current in (Cls.WORD, Cls.FIRST) and following in _PUNCTUATION_BONUS:
        return _PUNCTUATION_BONUS[following] if current is Cls.WORD else -STEP
    named = FOLLOWS.get(current, ())
    order = [*named, *(cls for cls in _UNMARKED if cls not in named)]
    return -STEP * order.index(following)


# --- GGUF ------------------------------------------------------------------------------------------------------------

_ALIGNMENT = 32
_F32 = 0
_TYPE_U32, _TYPE_I32, _TYPE_F32, _TYPE_BOOL, _TYPE_STRING, _TYPE_ARRAY = 4, 5, 6, 7, 8, 9


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    columns: int
    rows: int  # 0: a vector

    @property
    def size_bytes(self) -> int:
        return 4 * self.columns * max(1, self.rows)


def _tensors(vocabulary_size: int) -> list[_Tensor]:
    tensors = [_Tensor("token_embd.weight", DIM, vocabulary_size)]
    for layer in range(LAYERS):
        prefix = f"blk.{layer}."
        tensors.append(_Tensor(prefix + "attn_norm.weight", DIM, 0))
        tensors += [_Tensor(f"{prefix}attn_{part}.weight", DIM, DIM) for part in ("q", "k", "v", "output")]
        tensors.append(_Tensor(prefix + "ffn_norm.weight", DIM, 0))
        tensors += [_Tensor(f"{prefix}ffn_{part}.weight", DIM, FFN_DIM) for part in ("gate", "up")]
        tensors.append(_Tensor(prefix + "ffn_down.weight", FFN_DIM, DIM))
    tensors.append(_Tensor("output_norm.weight", DIM, 0))
    tensors.append(_Tensor("output.weight", DIM, vocabulary_size))
    return tensors


def _metadata(tokens: list[Token]) -> list[bytes]:
    def entry(key: str, code: int, value: bytes) -> bytes:
        return _string(key) + struct.pack("<I", code) + value

    def strings(values: list[str]) -> bytes:
        return struct.pack("<IQ", _TYPE_STRING, len(values)) + b"".join(map(_string, values))

    def text(key: str, value: str) -> bytes:
        return entry(key, _TYPE_STRING, _string(value))

    def whole(key: str, value: int) -> bytes:
        return entry(key, _TYPE_U32, struct.pack("<I", value))

    def real(key: str, value: float) -> bytes:
        return entry(key, _TYPE_F32, struct.pack("<f", value))

    def truth(key: str, value: bool) -> bytes:
        return entry(key, _TYPE_BOOL, struct.pack("<?", value))

    count = len(tokens)
    scores = struct.pack(f"<IQ{count}f", _TYPE_F32, count, *(token.score for token in tokens))
    kinds = struct.pack(f"<IQ{count}i", _TYPE_I32, count, *(token.kind for token in tokens))
    return [
        text("general.architecture", "llama"),
        text("general.name", NAME),
        text("general.license", "Apache-2.0"),
        whole("general.alignment", _ALIGNMENT),
        whole("general.file_type", 0),
        whole("llama.context_length", CONTEXT_TOKENS),
        whole("llama.embedding_length", DIM),
        whole("llama.block_count", LAYERS),
        whole("llama.feed_forward_length", FFN_DIM),
        whole("llama.attention.head_count", HEADS),
        whole("llama.attention.head_count_kv", HEADS),
        real("llama.attention.layer_norm_rms_epsilon", 1e-5),
        whole("llama.rope.dimension_count", DIM // HEADS),
        real("llama.rope.freq_base", ROPE_BASE),
        whole("llama.vocab_size", count),
        text("tokenizer.ggml.model", "llama"),
        text("tokenizer.ggml.pre", "default"),
        entry("tokenizer.ggml.tokens", _TYPE_ARRAY, strings([token.text for token in tokens])),
        entry("tokenizer.ggml.scores", _TYPE_ARRAY, scores),
        entry("tokenizer.ggml.token_type", _TYPE_ARRAY, kinds),
        whole("tokenizer.ggml.bos_token_id", _BOS_ID),
        whole("tokenizer.ggml.eos_token_id", _EOS_ID),
        whole("tokenizer.ggml.unknown_token_id", _UNK_ID),
        whole("tokenizer.ggml.eot_token_id", _END_ID),
        truth("tokenizer.ggml.add_bos_token", True),
        truth("tokenizer.ggml.add_eos_token", False),
        truth("tokenizer.ggml.add_space_prefix", False),
        text("tokenizer.chat_template", CHAT_TEMPLATE),
    ]


def _layout(tokens: list[Token]) -> tuple[bytes, list[_Tensor]]:
    """Everything before the tensors' values, padded, and the tensors in the order of the file."""
    tensors = _tensors(len(tokens))
    metadata = _metadata(tokens)
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(metadata)), *metadata]
    offset = 0
    for tensor in tensors:
        sizes = (tensor.columns, tensor.rows) if tensor.rows else (tensor.columns,)
        parts.append(_string(tensor.name))
        parts.append(struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, _F32, offset))
        offset += _padded(tensor.size_bytes)
    head = b"".join(parts)
    return head.ljust(_padded(len(head)), b"\0"), tensors


def _file() -> Iterator[bytes]:
    tokens = vocabulary()
    head, tensors = _layout(tokens)
    yield head
    weights = _Weights(tokens)
    for tensor in tensors:
        values = weights.values(tensor.name, tensor.columns, max(1, tensor.rows))
        if sys.byteorder == "big":
            values.byteswap()
        yield values.tobytes().ljust(_padded(tensor.size_bytes), b"\0")


def _string(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
