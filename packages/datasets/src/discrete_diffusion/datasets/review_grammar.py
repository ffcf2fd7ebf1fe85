"""Grammar of the embedded reviews."""

from random import Random
from types import MappingProxyType
from typing import NamedTuple

POLARITIES = ("negative", "positive")


class Field(NamedTuple):
    """Kind of product: products, their parts, negative words and positive words about them."""

    things: tuple[str, ...]
    parts: tuple[str, ...]
    words: tuple[tuple[str, ...], tuple[str, ...]]


def _field(things: str, parts: str, bad: str, good: str) -> Field:
    return Field(tuple(things.split()), tuple(parts.split()), (tuple(bad.split()), tuple(good.split())))


FIELDS = (
    _field(
        "camera phone laptop tablet radio speaker monitor printer keyboard projector",
        "screen battery sound display charger microphone software lens button menu",
        "dim slow blurry noisy laggy unresponsive",
        "bright fast sharp quiet crisp responsive",
    ),
    _field(
        "blender kettle toaster pan knife grill mixer oven fridge dishwasher",
        "handle lid blade motor timer base coating basket door knob",
        "flimsy rusty leaky wobbly dull dented",
        "sturdy solid precise powerful smooth efficient",
    ),
    _field(
        "novel book biography thriller memoir cookbook guide anthology atlas comic",
        "plot ending story dialogue writing cover index binding chapter map",
        "boring confusing predictable shallow tedious sloppy",
        "gripping clever moving witty thoughtful clear",
    ),
    _field(
        "jacket sweater dress shirt coat scarf hat backpack belt glove",
        "fabric fit zipper collar lining color pocket seam sleeve stitching",
        "scratchy baggy faded thin uneven stiff",
        "soft warm comfortable durable stylish light",
    ),
    _field(
        "album movie series game puzzle documentary musical show podcast concert",
        "acting soundtrack pace cast humor script recording opening finale rhythm",
        "dreary clumsy bland repetitive forgettable shrill",
        "funny charming inventive lively memorable brilliant",
    ),
)
ANY = (
    ("bad", "awful", "terrible", "poor", "disappointing", "useless", "ugly", "cheap"),
    ("good", "great", "wonderful", "excellent", "lovely", "perfect", "superb", "pleasant"),
)
COMPARISONS = ("worse", "better")
VERDICTS = (
    (
        "i regret this purchase",
        "it was a waste of money",
        "i asked for a refund",
        "we returned it the next day",
        "i would avoid it",
        "it broke after one week",
        "i am not satisfied",
        "i would never recommend it",
        "my family hates it",
    ),
    (
        "i recommend it to everyone",
        "i love it",
        "we would happily buy it again",
        "it was worth every cent",
        "i am very satisfied",
        "my family enjoys it every day",
        "it was not a waste of money",
        "i do not regret this purchase",
        "it deserves five stars",
    ),
)
PEOPLE = ("mother", "father", "sister", "brother", "wife", "husband", "son", "daughter", "friend", "neighbor", "boss")
TIMES = ("last week", "in march", "two months ago", "for christmas", "last summer", "yesterday", "on sale", "in may")
SPANS = ("a week", "a month", "two years", "a few days", "some time", "half a year", "one winter")
ADVERBS = ("very", "really", "quite", "rather", "so", "surprisingly", "simply")
VERBS = ("is", "was", "seems", "feels", "turned out to be")
NEGATIONS = frozenset({"not", "never", "hardly", "less"})

_VERDICT_WORDS = (
    ("regret", "waste", "refund", "returned", "avoid", "broke", "hates"),
    ("satisfied", "recommend", "love", "happily", "worth", "enjoys", "deserves"),
)
SENTIMENT = MappingProxyType(
    {
        word: 2 * side - 1
        for side in (0, 1)
        for words in (*(field.words[side] for field in FIELDS), ANY[side], (COMPARISONS[side],), _VERDICT_WORDS[side])
        for word in words
    }
)
"""+1 for words of praise and -1 for words of blame."""


def review(rng: Random, polarity: str) -> str:
    """Draw a review: an opening, two or three remarks that agree, perhaps one that does not, and perhaps a verdict."""
    side = POLARITIES.index(polarity)
    field = rng.choice(FIELDS)
    thing = rng.choice(field.things)
    parts = rng.sample(field.parts, 3)
    first, second = _remark(rng, field, thing, parts[0], side), _remark(rng, field, thing, parts[1], side)
    sentences = [_opening(rng, thing)] if rng.random() < 0.6 else []
    if rng.random() < 0.3:
        sentences.append(f"although {_remark(rng, field, thing, parts[2], 1 - side)}, {first} and {second}")
        sentences.append(rng.choice(VERDICTS[side]))
    elif rng.random() < 0.7:
        sentences += [f"{first} and {second}", rng.choice(VERDICTS[side])]
    else:
        sentences += [first, second]
    return " ".join(f"{sentence}." for sentence in sentences)


def _opening(rng: Random, thing: str) -> str:
    person, time, span = rng.choice(PEOPLE), rng.choice(TIMES), rng.choice(SPANS)
    return rng.choice(
        (
            f"i bought this {thing} for my {person} {time}",
            f"my {person} gave me this {thing} {time}",
            f"we have used this {thing} for {span}",
            f"this {thing} arrived {time}",
            f"my {person} and i shared this {thing} for {span}",
        )
    )


def _remark(rng: Random, field: Field, thing: str, part: str, side: int) -> str:
    verb, word = rng.choice(VERBS), rng.choice(field.words[side] + ANY[side])
    against = rng.choice(field.words[1 - side] + ANY[1 - side])
    form = rng.random()
    if form < 0.3:
        return f"the {part} {verb} {word}"
    if form < 0.6:
        return f"the {part} {verb} {rng.choice(ADVERBS)} {word}"
    if form < 0.75:
        return f"the {part} {rng.choice(('is not', 'was never', 'was hardly', 'is not very'))} {against}"
    if form < 0.85:
        return f"the {part} is less {against} than i expected"
    return f"the {part} is {COMPARISONS[side]} than that of my old {rng.choice(field.things)}"
