"""Whether the right file comes first: questions on real repositories, in many languages.

    tox -e ranking                                       all repositories
    tox -e ranking -- --part report --beside old.json    one half, beside an earlier run
    tox -e ranking -- --documented --part choose         functions, by the comments above them

`questions` reads the questions, which lie beside it, `fetch` and `unpack` bring the sources,
`systems` asks, `judge` gives marks, and `tables` prints them.  `documented` asks by comments.
"""
