"""Validates the exports against the published schemas: GBFS 3.0 (MobilityData's, as the package gbfs-validator carries them) and
rFMS 4 (schemas/rfms4.json).

python exports.py URL TOKEN; prints what it validated, ends with 1 on the first thing that is not as promised.
"""

import json
import sys
from importlib.resources import files
from pathlib import Path
from urllib.request import Request, urlopen

from jsonschema import Draft202012Validator, validators

URL, TOKEN = sys.argv[1:3]


def get(path):
    request = Request(URL + path, headers={"authorization": f"Bearer {TOKEN}"})
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def must_fail(validator, document):
    assert list(validator.iter_errors(document)), "the schema lets anything through"


gbfs = json.loads((files("gbfs_validator") / "data/schemas/v3.0/vehicle_status.json").read_text())
validator = validators.validator_for(gbfs)(gbfs)
status = get("/gbfs/vehicle_status.json")
validator.validate(status)
must_fail(validator, {**status, "version": "2.3"})

rfms = json.loads((Path(__file__).parent / "schemas/rfms4.json").read_text())
seen = 0
for kind in ["positions", "statuses"]:
    validator = Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": rfms["$defs"]})
    path = f"/rfms/vehicle{kind}?latestOnly=true"
    while path:
        page = get(path)
        validator.validate(page)
        must_fail(validator, {**page, "moreDataAvailable": "no"})
        seen += 1
        path = page.get("moreDataAvailableLink")
print(f"{len(status['data']['vehicles'])} vehicles of GBFS, {seen} pages of rFMS")
