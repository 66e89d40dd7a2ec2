"""Reads a safetensors file with nothing but Python's own library, strictly, and prints what is in it:

    metadata KEY VALUE
    tensor NAME DTYPE [SHAPE] FIRST VALUES (at most 4) sum SUM squares SUM OF SQUARES

in the order of the data, numbers as %.9g, sums in double. Ends with "ok N tensors"; or says what is wrong with the file
and fails with status 1.
    python3 tests/safetensors_reader.py FILE
"""
import json
import math
import struct
import sys

CODES = {"F64": "d", "F32": "f", "F16": "e", "I64": "q", "U64": "Q", "I32": "i", "U32": "I", "U8": "B", "I8": "b"}


def unique(pairs):
    assert len({key for key, _ in pairs}) == len(pairs), "a key appears twice"
    return dict(pairs)


def read(path):
    """Metadata and {name: (dtype, shape, values)}."""
    with open(path, "rb") as file:
        whole = file.read()
    assert len(whole) >= 8, "the file has less than 8 bytes"
    size = struct.unpack("<Q", whole[:8])[0]
    assert size <= 100000000 and 8 + size <= len(whole), "the header is longer than the file"
    assert whole[8:9] == b"{", "the header does not begin with {"
    header, data = json.loads(whole[8:8 + size].decode("utf-8"), object_pairs_hook=unique), whole[8 + size:]
    metadata, tensors, end = header.pop("__metadata__", {}), {}, 0
    assert all(isinstance(text, str) for text in metadata.values()), "metadata has a value that is not a string"
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        code, count = CODES[entry["dtype"]], math.prod(entry["shape"])
        assert begin == end and stop - begin == count * struct.calcsize("<" + code), "wrong offsets: " + name
        tensors[name] = entry["dtype"], entry["shape"], struct.unpack("<%d%s" % (count, code), data[begin:stop])
        end = stop
    assert end == len(data), "bytes follow the last tensor, or are missing"
    return metadata, tensors


if __name__ == "__main__":
    try:
        metadata, tensors = read(sys.argv[1])
    except (AssertionError, KeyError, TypeError, ValueError, struct.error) as error:
        sys.exit("%s: %s" % (sys.argv[1], error))
    for key, text in metadata.items():
        print("metadata", key, text)
    for name, (dtype, shape, values) in tensors.items():
        print("tensor", name, dtype, "[%s]" % ",".join(map(str, shape)), *("%.9g" % v for v in values[:4]),
              "sum %.9g squares %.9g" % (math.fsum(values), math.fsum(v * v for v in values)))
    print("ok", len(tensors), "tensors")
