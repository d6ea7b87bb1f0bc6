"""Family `chat`: small talk, short writing, common sense; no tool is needed. Takes a seed; gives problems.

The reference is the base model's own greedy answer, filled in by `knownness.py`; until then it is a stand-in."""

from __future__ import annotations

from collections.abc import Iterator

from components.curation.problem_making import Question, as_problem
from components.curation.splits import split_of
from components.schema.problem import Budget, CheckerSpec, Problem, Reference, Split

BUDGET = Budget(max_calls=2, max_answer_tokens=40)
STAND_IN = "(the base model's own answer)"
THINGS = (
    *("a cat", "a dog", "the rain", "a garden", "the sea", "a river", "a mountain", "the moon", "a tree", "a bridge"),
    *("a teacher", "a friend", "a neighbour", "a baker", "a farmer", "a musician", "a library", "a school", "a market"),
    *("a bicycle", "a train", "a boat", "a kite", "a clock", "a mirror", "a candle", "a window", "a book", "a letter"),
    *("a cup of tea", "fresh bread", "an apple", "a birthday cake", "a warm soup", "honey", "chocolate", "a picnic"),
    *("spring", "summer", "autumn", "winter", "a sunny morning", "a quiet evening", "snow", "the wind", "a rainbow"),
    *(
        "a snail",
        "a horse",
        "a rabbit",
        "a lighthouse",
        "a forest",
        "a beach",
        "a lantern",
        "an old song",
        "a new coat",
    ),
    *("a sandwich", "a puzzle", "a camera", "a painter", "a gift", "a fireplace", "a postcard", "a blanket", "a choir"),
    *("kindness", "patience", "courage", "friendship", "music", "painting", "reading", "walking", "sleep", "laughter"),
)
WAYS = (
    "Write one sentence about {t}.",
    "Say something nice about {t}.",
    "In one sentence, why do people like {t}?",
    "Describe {t} in one short sentence.",
    "Give me a short compliment that mentions {t}.",
    "Write a short greeting card line about {t}.",
    "Finish this sentence: When I think of {t}, I",
    "What is a good adjective for {t}?",
    "Write a short title for a story about {t}.",
    "Tell me a cheerful thought about {t}.",
    "Suggest a name for a song about {t}.",
    "What feeling does {t} bring to mind?",
    "Write a friendly message to someone who likes {t}.",
    "Start a bedtime story about {t} with one sentence.",
    "Imagine {t} could talk. What would it say?",
    "Write a short rhyme about {t}.",
    "Ask me a question about {t}.",
    "Why might a child enjoy {t}?",
    "Make up a slogan for {t}.",
    "How would you explain {t} to a small child in one sentence?",
)
WAYS_IN_TEST = (
    "Compose a one-line poem on {t}.",
    "Give one reason to be thankful for {t}.",
    "Write a polite sentence that has {t} in it.",
    "What would you like to say about {t}?",
    "Put {t} into a short, happy sentence.",
)
SMALL_TALK = (
    *("Hello!", "Hi there, how are you?", "Good morning!", "Good evening!", "How was your day?", "Nice to meet you."),
    *("Thank you for your help.", "I am feeling a bit tired today.", "I had a great day today!", "Goodbye!"),
    *("I am nervous about my exam.", "I just got a new job!", "My friend is sad. What should I say?", "Cheer me up."),
    *("Wish me luck.", "Wish me a happy birthday.", "Say good night to me.", "Please be polite and greet my guest."),
    *("What should I do on a rainy day?", "What is a good hobby for the evening?", "How do I make a new friend?"),
    *("How can I say sorry to a friend?", "Why should I drink water?", "Why do we sleep?", "Why do people laugh?"),
    *(
        "What do you use an umbrella for?",
        "What do you do with a spoon?",
        "Is fire hot or cold?",
        "Is ice hot or cold?",
    ),
    *(
        "Can a fish ride a bicycle?",
        "Which is heavier, a feather or a stone?",
        "What do bees make?",
        "What do cows eat?",
    ),
    *("What colour is the sky on a clear day?", "What colour is grass?", "What sound does a dog make?"),
    *("What do you wear on your feet?", "Where do people sleep?", "What do you need to write a letter?"),
    *("Give me one tip for better sleep.", "Give me one tip for a good conversation.", "Suggest a simple breakfast."),
    *("Suggest a game for two children.", "Tell me a short joke.", "Tell me a riddle.", "Write a haiku."),
    *("Write a short thank-you note.", "Write a short invitation to dinner.", "Write an excuse for being late."),
    *("Complete the proverb: Better late than", "What is the opposite of happy?", "Give a synonym for big."),
    *("Use the word sunshine in a sentence.", "Make a sentence with the words cat and moon.", "Say yes politely."),
)


def chat_problems(seed: int) -> Iterator[Problem]:
    """Every prompt once; the phrasings of `WAYS_IN_TEST` only where their prompt falls into the test split."""
    for prompt in SMALL_TALK:
        yield _problem(prompt, split_of(_group(prompt), seed))
    for way in WAYS:
        for thing in THINGS:
            prompt = way.format(t=thing)
            yield _problem(prompt, split_of(_group(prompt), seed))
    for way in WAYS_IN_TEST:
        for thing in THINGS:
            yield _problem(way.format(t=thing), "test")


def _group(prompt: str) -> str:
    return f"chat:{prompt}"


def _problem(prompt: str, split: Split) -> Problem:
    question = Question(
        prompt=prompt,
        reference=Reference(text=STAND_IN, answer=STAND_IN),
        checker=CheckerSpec("overlap", {"minimum_f1": 0.5}),
        family="chat",
        group=_group(prompt),
        budget=BUDGET,
        facts={},
    )
    return as_problem(question, split=split)
