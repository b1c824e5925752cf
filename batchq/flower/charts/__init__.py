"""Charts as SVG: pure functions from figures to text, with no script and no library.

Colours come from the page's style sheet, so a chart follows the theme. A chart says what it shows
twice: once to look at, with a tooltip for each of its places, and once as a sentence that a screen
reader reads (`label`). Every text that is given may hold anything; it is escaped.
"""
