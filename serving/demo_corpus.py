"""What the demo model knows by heart: topics, the ways to ask for them, and seeded samples.

The model has about one million parameters: it cannot reason, it recognises a question and recites.
A sample is a short chat. Most topics are asked in many wordings; everything else that people may
type (other questions, random words) must lead to one honest answer, so the corpus is as much about
what the model does not know as about what it knows. The texts are in `demo_corpus.toml`.
"""

import json
from pathlib import Path
from random import Random

import msgspec


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    questions: tuple[str, ...]
    answer: str


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A chat, in the form that the chat template takes, and what the model must answer.

    `given` is the beginning of the answer that is not the model's choice: a server that was asked
    for JSON forces the brace, the model only has to go on from there.
    """

    messages: tuple[dict[str, str], ...]
    tools: tuple[dict[str, object], ...] = ()
    given: str = ""
    answer: str


class Corpus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    topic: tuple[Topic, ...]
    unknown_answer: str
    other_questions: tuple[str, ...]
    other_templates: tuple[str, ...]
    words: str
    prefixes: tuple[str, ...]
    suffixes: tuple[str, ...]
    system_prompts: tuple[str, ...]
    weather_cities: tuple[str, ...]
    weather_questions: tuple[str, ...]
    weather_tools: tuple[str, ...]


CORPUS = msgspec.toml.decode(Path(__file__).with_suffix(".toml").read_bytes(), type=Corpus)
WORDS = CORPUS.words.split()
CONSONANTS = "bcdfghjklmnprstvwz"
SPELLINGS = (("tollgate", "Tollgate"), ("ide", "IDE"), ("vllm", "vLLM"), ("api", "API"))


def topic_answers() -> tuple[str, ...]:
    """Every text that the model may write, each once."""
    return (*(topic.answer for topic in CORPUS.topic), CORPUS.unknown_answer)


def draw(rng: Random) -> Sample:
    """One random chat; the mixture below was chosen by what the trained model got wrong."""
    if rng.random() < 0.08:
        return _weather_sample(rng)
    question, answer = _question(rng)
    messages: list[dict[str, str]] = []
    if rng.random() < 0.3:
        messages.append({"role": "system", "content": _system_prompt(rng)})
    if rng.random() < 0.12:
        earlier, earlier_answer = _question(rng)
        messages += [
            {"role": "user", "content": earlier},
            {"role": "assistant", "content": earlier_answer},
        ]
    messages.append({"role": "user", "content": question})
    tools = (_tool(rng, rng.choice(CORPUS.weather_tools)),) if rng.random() < 0.02 else ()
    if rng.random() < 0.05:
        return Sample(messages=tuple(messages), given="{", answer=_json_fields(rng))
    return Sample(messages=tuple(messages), tools=tools, answer=answer)


def _question(rng: Random) -> tuple[str, str]:
    kind = rng.random()
    if kind < 0.66:
        topic = rng.choice(CORPUS.topic)
        return _worded(rng, rng.choice(topic.questions)), topic.answer
    if kind < 0.74:
        return _worded(rng, rng.choice(CORPUS.other_questions)), CORPUS.unknown_answer
    if kind < 0.88:
        template = rng.choice(CORPUS.other_templates)
        words = [_word(rng) for _ in range(template.count("{}"))]
        return _worded(rng, template.format(*words)), CORPUS.unknown_answer
    return _gibberish(rng), CORPUS.unknown_answer


def _worded(rng: Random, question: str) -> str:
    """`question` as people type it: with a wrapping, a case, an ending and at times a slip."""
    if rng.random() < 0.35:
        question = f"{rng.choice(CORPUS.prefixes)} {question}"
    if rng.random() < 0.2:
        comma = rng.choice(("", ","))
        question = f"{question}{comma} {rng.choice(CORPUS.suffixes)}"
    case = rng.random()
    if case < 0.45:
        question = question[0].upper() + question[1:]
    elif case < 0.52:
        question = question.upper()
    elif case < 0.57:
        question = question.title()
    for name, spelling in SPELLINGS:
        if rng.random() < 0.5:
            question = " ".join(spelling if w == name else w for w in question.split(" "))
    if "'s" in question and rng.random() < 0.3:
        question = question.replace("'s", "s")
    if rng.random() < 0.08:
        question = _slip(rng, question)
    return question + rng.choice(("?", "?", "?", ".", "", "", "!", " ?", "??", "...", "?\n", " :)"))


def _slip(rng: Random, text: str) -> str:
    at = rng.randrange(len(text))
    if len(text) < 6:
        return text
    if rng.random() < 0.5:
        return text[:at] + text[at + 1 :]
    return text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]


def _gibberish(rng: Random) -> str:
    """Words without sense, letters without words, or numbers: short as a rule, long at times."""
    long = rng.random() < 0.2
    count = rng.choice((20, 40, 90, 160, 300, 500) if long else (1, 2, 3, 4, 5, 6, 8, 10, 14))
    kind = rng.random()
    if kind < 0.12:
        return (rng.choice(WORDS) + " ") * count
    if kind < 0.75:
        text = " ".join(rng.choice(WORDS) for _ in range(count))
        return _worded(rng, text) if count < 20 else text
    if kind < 0.9:
        letters = "abcdefghijklmnopqrstuvwxyzäöüéñ你好日本+-*/=(){}[]<>_\n0123456789   "
        return "".join(rng.choice(letters) for _ in range(min(count, 20) * 4)).strip() or "?"
    return " ".join(str(rng.randrange(10_000)) for _ in range(min(count, 20)))


def _word(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.65:
        return rng.choice(WORDS)
    if kind < 0.9:
        syllables = ("".join((rng.choice(CONSONANTS), rng.choice("aeiou"))) for _ in range(3))
        return "".join(syllables)[: rng.randrange(3, 7)] + rng.choice(("", "s", "n", "r", "ng"))
    return str(rng.randrange(3000))


def _system_prompt(rng: Random) -> str:
    if rng.random() < 0.7:
        return rng.choice(CORPUS.system_prompts)
    return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(3, 25))).capitalize() + "."


def _json_fields(rng: Random) -> str:
    """The rest of a small JSON object with any names: short values, and an end."""
    fields: dict[str, object] = {}
    for _ in range(rng.randrange(1, 5)):
        name = "_".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 3)))
        values = (rng.choice(WORDS), rng.randrange(200), rng.random() < 0.5, [rng.choice(WORDS)])
        fields[name] = rng.choice((*values, rng.choice(WORDS), {rng.choice(WORDS): 1}))
    return json.dumps(fields)[1:]


def _weather_sample(rng: Random) -> Sample:
    """The one tool call that the model knows: a weather question, and a weather tool to call."""
    city = rng.choice(CORPUS.weather_cities)
    name = rng.choice(CORPUS.weather_tools)
    question = rng.choice(CORPUS.weather_questions).format(city)
    if rng.random() < 0.6:
        question = question[0].upper() + question[1:]
    question += rng.choice(("?", "?", "", "."))
    tool = _tool(rng, name)
    argument = _argument(tool)
    system = ({"role": "system", "content": _system_prompt(rng)},) if rng.random() < 0.3 else ()
    return Sample(
        messages=(*system, {"role": "user", "content": question}),
        tools=(tool,),
        answer=(
            f'<tool_call>\n{{"name": "{name}", "arguments": {{"{argument}": "{city}"}}}}'
            "\n</tool_call>"
        ),
    )


def _tool(rng: Random, name: str) -> dict[str, object]:
    argument = rng.choice(("city", "city", "location"))
    parameters: dict[str, object] = {
        "type": "object",
        "properties": {argument: {"type": "string"}},
        "required": [argument],
    }
    if rng.random() < 0.3:
        parameters["additionalProperties"] = False
    function: dict[str, object] = {"name": name}
    if rng.random() < 0.7:
        function["description"] = rng.choice(
            (
                "Get the weather in a city",
                "Current weather of a city.",
                "The weather",
                "Get weather",
            )
        )
    function["parameters"] = parameters
    if rng.random() < 0.3:
        function["strict"] = True
    return {"type": "function", "function": function}


def _argument(tool: dict[str, object]) -> str:
    function = tool["function"]
    assert isinstance(function, dict)
    return str(next(iter(function["parameters"]["properties"])))
