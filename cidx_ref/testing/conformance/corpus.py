"""The project that daemons are judged with: small files of plain words, in editions.

    corpus.write(root, 1)               # the files of edition 1
    corpus.write(root, 2)               # two files change: they have the word of edition 2
    for query, path in corpus.QUESTIONS: ...

Each file has words that are in it alone.  All words are lower-case letters and nothing else,
because how text is cut into words is the target's own affair.  The file names are plain words, too.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["COMMON", "CHANGING", "QUESTIONS", "files", "marker", "write"]

#: Of each file, its words, which are in no other.
_WORDS = {
    "harbour": "lantern anchor tugboat mooring ferry barnacle",
    "orchard": "apple cherry blossom wheelbarrow cider pear",
    "bakery": "dough yeast croissant flour rye pretzel",
    "library": "parchment scroll bookshelf quill novel atlas",
    "workshop": "hammer chisel sawdust plywood rivet anvil",
    "kitchen": "saucepan ladle simmer onion garlic skillet",
    "meadow": "clover bumblebee daisy haystack lark thistle",
    "mountain": "glacier summit avalanche boulder ridge yodel",
    "desert": "camel oasis dune cactus scorpion mirage",
    "theatre": "curtain actor balcony rehearsal costume puppet",
    "hospital": "nurse bandage thermometer syringe ward plaster",
    "station": "locomotive carriage platform conductor luggage whistle",
    "aquarium": "jellyfish coral dolphin seaweed urchin lobster",
    "museum": "fossil sculpture amphora mosaic dinosaur curator",
    "stable": "saddle bridle gallop hoof pony stirrup",
    "vineyard": "grape barrel cellar trellis cork claret",
    "foundry": "copper bronze furnace ingot crucible bellows",
    "garage": "piston clutch gasket radiator exhaust dashboard",
    "circus": "juggler trapeze acrobat clown unicycle tent",
    "volcano": "lava magma crater cinder eruption pumice",
}
#: A word that is in every file.
COMMON = "village"
#: The two files that are different in each edition.
CHANGING = ("harbour.py", "meadow.py")
#: Queries, each with the file that must be among the hits: it alone has any of the words.
QUESTIONS: tuple[tuple[str, str], ...] = tuple(
    (" ".join(words.split()[start : start + 2]), f"{name}.py")
    for start in (0, 2)
    for name, words in _WORDS.items()
)

_SYLLABLES = "ba du fi go ku la me no pi ro sa te vu wo zi bo da fu gi lo".split()


def marker(edition: int) -> str:
    """The word of an edition: the two files of `CHANGING` have it, in that edition only.

    There are 8000 of them.
    """
    # Neighbours differ in every syllable, so that nothing takes one for the other.
    number, syllables = edition * 7919 % 8000, []
    for _ in range(3):
        number, digit = divmod(number, 20)
        syllables.append(_SYLLABLES[digit])
    # Word endings are left alone by all stemmers if they are no endings.
    return "qu" + "".join(syllables) + "x"


def files(edition: int) -> dict[str, str]:
    """The text of each file of an edition, by its name."""
    return {f"{name}.py": _text(name, edition) for name in _WORDS}


def write(root: Path, edition: int) -> None:
    """Have the files of that edition in `root`; those that are so already are not touched."""
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files(edition).items():
        path = root / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def _text(name: str, edition: int) -> str:
    first, second, third, *rest = _WORDS[name].split()
    lines = [
        f'"""{name} of the {COMMON}: {first} {second}"""',
        "",
        "",
        f"def {first}({second}):",
        f'    """{third} {" ".join(rest)} in the {COMMON}"""',
        f"    return {second}",
    ]
    if f"{name}.py" in CHANGING:
        lines += ["", "", f"def {marker(edition)}({third}):"]
        lines += [f'    """{marker(edition)} of the {COMMON}"""', f"    return {third}"]
        # Sizes differ, because not everybody looks at more of a file than size and second.
        lines += [f"# {COMMON}"] * (edition % 7)
    return "\n".join(lines) + "\n"
