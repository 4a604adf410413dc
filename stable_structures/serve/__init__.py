# SPDX-License-Identifier: Apache-2.0
"""The page of a canister in a folder: `stable-structures canister serve DIR`. Only `app.py` and `server.py` need the extra `serve`.

session.py   the canister behind the page: calls, upgrades, rehearsals, the map of its memory
forms.py     Candid types as a page draws them, and what was typed as values
python.py    the types of a Python canister's methods, from its annotations
changes.py   where two images of a memory differ
app.py       the requests, and who may make them
server.py    the address, and the process
page/        the page: one HTML file is made of what is there
"""
