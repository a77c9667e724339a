"""Adds up the JUnit files of a folder: `./dev test` ends with what this prints.

Exit status 1 if a test failed or none was run.
"""

import glob
import sys
import xml.etree.ElementTree as ET


def main(folder):
    passed = skipped = 0
    failed = []
    for path in sorted(glob.glob(folder + "/*.xml")):
        for case in ET.parse(path).iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed.append(case.get("name"))
            elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
                skipped += 1
            else:
                passed += 1
    for name in failed:
        print(f"FAILED {name}")
    skips = f", {skipped} skipped" if skipped else ""
    print(f"{passed} passed, {len(failed)} failed{skips}")
    if passed == 0 and not failed:
        print("no test was run")
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
