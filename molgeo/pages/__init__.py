"""Pages for people: what all of them are made of. Each is one file that needs no network.

A room that has a page brings its template and its script; the frame, the style, the viewer of
structures and the table are here. ``assets`` holds two pieces of other projects, with their
licences, which go into every page that uses them: 3Dmol.js 2.5.5 (BSD-3-Clause) shows structures,
TanStack
Table 8.21.3 (MIT) sorts, searches and pages the rows of a table.
"""
