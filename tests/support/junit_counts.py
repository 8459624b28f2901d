"""Counts a JUnit file of ctest or pytest: `PASSED FAILED`, then the name of each test that did not pass, one a line."""

import sys
import xml.etree.ElementTree as ElementTree


def main(path):
    passed, bad = 0, []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
        outcome = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        if outcome or case.get("status") in ("fail", "disabled", "notrun"):
            bad.append(f"{name} ({outcome[0] if outcome else case.get('status')})")
        else:
            passed += 1
    print(passed, len(bad))
    for name in bad:
        print(name)


if __name__ == "__main__":
    main(sys.argv[1])
