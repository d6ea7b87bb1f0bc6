"""The prompts of the family `chat`, as phrasings and the words that fill them. Takes nothing; gives prompts.

They ask for words, not for knowledge or invention: the reference is the base model's own answer, and a small model
answers "What is the plural of cat?" nearly alike whenever it is asked, but "Write one sentence about honey." never."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

ADJECTIVES: Sequence[str] = (
    *("hot", "cold", "big", "small", "tall", "short", "happy", "sad", "fast", "slow", "early", "late", "open"),
    *("closed", "old", "young", "new", "good", "bad", "hard", "soft", "heavy", "light", "dark", "bright"),
    *("clean", "dirty", "dry", "wet", "full", "empty", "high", "low", "long", "wide", "narrow", "thick"),
    *("thin", "rich", "poor", "strong", "weak", "loud", "quiet", "sweet", "sour", "rough", "smooth", "safe"),
    *("dangerous", "easy", "difficult", "cheap", "warm", "cool", "deep", "shallow", "near", "far", "right"),
    *("true", "kind", "brave", "polite", "calm", "angry", "expensive", "wrong", "false", "careful", "lazy"),
    *("modern", "simple", "sharp", "straight", "useful"),
)
NOUNS: Sequence[str] = (
    *("cat", "dog", "horse", "cow", "bird", "duck", "fox", "bee", "lion", "tiger", "bear", "rabbit", "apple"),
    *("banana", "lemon", "carrot", "tomato", "potato", "cake", "cookie", "tree", "flower", "leaf", "garden"),
    *("river", "lake", "mountain", "island", "beach", "cloud", "star", "house", "door", "window", "table"),
    *("chair", "lamp", "bed", "box", "book", "letter", "pencil", "paper", "clock", "key", "cup", "plate"),
    *("spoon", "knife", "bottle", "bag", "hat", "shoe", "coat", "dress", "button", "car", "bus", "train"),
    *("boat", "bicycle", "road", "bridge", "city", "school", "teacher", "doctor", "baker", "farmer", "child"),
    *("friend", "baby", "story", "song", "game", "toy", "gift", "frog", "goat", "hen", "pig", "turtle"),
    *("orange", "pear", "berry", "egg", "sandwich", "root", "branch", "hill", "valley", "wave", "stone"),
    *("field", "kitchen", "wall", "roof", "floor", "carpet", "pillow", "blanket", "mirror", "basket", "bucket"),
    *("brush", "candle", "camera", "drum", "piano", "ticket", "wheel", "street", "tower", "market", "library"),
    *("nurse", "painter", "singer", "cousin", "poem", "puzzle", "kite"),
)
VERBS: Sequence[str] = (
    *("run", "eat", "sing", "sleep", "write", "read", "jump", "swim", "speak", "listen", "think", "learn"),
    *("teach", "build", "carry", "bring", "choose", "arrive", "begin", "become", "forget", "remember"),
    *("follow", "give", "grow", "hear", "know", "laugh", "lose", "meet", "pay", "send", "smile", "sit"),
    *("stand", "throw", "understand", "win", "ask", "catch", "climb", "come", "cook", "decide", "draw"),
    *("drink", "enjoy", "explain", "fall", "find", "keep", "leave", "move", "push", "sell"),
)
LETTERS: Sequence[str] = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
MONTHS: Sequence[str] = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September", "October"),
    *("November", "December"),
)
WALKERS: Sequence[str] = (
    *("a dog", "a cat", "a horse", "a cow", "a bird", "a duck", "a lion", "a rabbit", "a sheep", "a goat"),
    *("a mouse", "a hen", "a tiger", "an elephant", "a chair", "a table"),
)
PROMPTS: Sequence[tuple[str, Sequence[str]]] = (
    ("What is the opposite of {w}?", ADJECTIVES),
    ("What is an antonym of {w}?", ADJECTIVES),
    ("Tell me the opposite of {w}.", ADJECTIVES),
    ("What is the noun form of {w}?", ADJECTIVES),
    ("What is the plural of {w}?", NOUNS),
    ("What is the plural form of {w}?", NOUNS),
    ("What is the first letter of the word {w}?", (*NOUNS, *VERBS)),
    ("Is the word {w} a noun or a verb?", (*NOUNS, *VERBS)),
    ("What is the opposite of the word {w}?", VERBS),
    ("Is the letter {w} a vowel or a consonant?", LETTERS),
    ("What is the month after {w}?", MONTHS),
    ("How many legs does {w} have?", WALKERS),
)
PROMPTS_IN_TEST: Sequence[tuple[str, Sequence[str]]] = (
    ("Name the opposite of {w}.", ADJECTIVES[::2]),
    ("Name the plural of {w}.", NOUNS[::3]),
    ("Name the first letter of the word {w}.", NOUNS[1::3]),
    ("Which letter does the word {w} begin with?", NOUNS[2::3]),
)


def prompts(ways: Sequence[tuple[str, Sequence[str]]]) -> Iterator[tuple[int, str]]:
    """Every phrasing with each of its words, after the phrasing's number."""
    for number, (way, words) in enumerate(ways):
        for word in words:
            yield number, way.format(w=word)
