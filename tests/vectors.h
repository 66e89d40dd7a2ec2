/* vectors.h - the published safetensors test vectors: the files of the format's own tests (huggingface/safetensors,
   safetensors/src/tensor.rs at 45c8c2cb, its module `tests`, by the names of the tests there), and those that its
   README's rules ask for. No tensor here is one of any model's, so that vae_load_matching refuses all of them, the
   right ones because nothing fits. */
#ifndef VECTORS_H
#define VECTORS_H

typedef struct vector {
    const char *name, *sentence;    /* a part of the error's */
    size_t      size;
    const char *bytes;
} vector;

#define ZEROS_4 "\0\0\0\0"
#define ZEROS_16 ZEROS_4 ZEROS_4 ZEROS_4 ZEROS_4
#define LENGTH(c) c "\0\0\0\0\0\0\0"
#define I32_2_2 "{\"test\":{\"dtype\":\"I32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}"
#define VECTOR(name, sentence, bytes) { name, sentence, sizeof(bytes) - 1, bytes }

static const vector vectors[] = {
    /* of tensor.rs */
    VECTOR("deserialization", "test [2, 2]", LENGTH("<") I32_2_2 ZEROS_16),
    VECTOR("empty", "no tensors", LENGTH("\x08") "{}      "),
    VECTOR("empty_metadata", "no tensors", LENGTH("\x28") "{\"__metadata__\":{\"framework\":\"pt\"}}     "),
    VECTOR("empty_shapes_allowed", "test []",
           LENGTH("8") "{\"test\":{\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[0,4]}}" ZEROS_4),
    VECTOR("zero_sized_tensor", "test [2, 0]",
           LENGTH("<") "{\"test\":{\"dtype\":\"I32\",\"shape\":[2,0],\"data_offsets\":[0, 0]}}"),
    VECTOR("whitespace_padded_header", "no tensors", LENGTH("\x06") "{}\r \t\n"),
    VECTOR("whitespace_start_padded_header", "no tensors", LENGTH("\x06") "\t\n{}\r "),
    VECTOR("json_attack", "a gap or overlap",
           LENGTH("\x7F") "{\"weight_0\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
                          "\"weight_1\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}" ZEROS_16),
    VECTOR("metadata_incomplete_buffer", "something was appended",
           LENGTH("<") I32_2_2 ZEROS_16 "extra_bogus_data_for_polyglot_file"),
    VECTOR("metadata_incomplete_buffer_short", "beyond the end", LENGTH("<") I32_2_2 ZEROS_4 ZEROS_4 ZEROS_4 "\0\0"),
    VECTOR("header_too_large", "larger than the file", "<\0\0\0\0\xff\xff\xff" I32_2_2 ZEROS_16),
    VECTOR("header_too_small", "0 bytes", ""),
    VECTOR("invalid_header_length", "its header alone should have 60", LENGTH("<")),
    VECTOR("invalid_header_non_utf8", "not UTF-8", LENGTH("\x01") "\xff"),
    VECTOR("invalid_header_not_json", "a string is missing", LENGTH("\x01") "{"),
    VECTOR("invalid_info", "beyond the end",
           LENGTH("<") "{\"test\":{\"dtype\":\"I32\",\"shape\":[2,2],\"data_offsets\":[0, 4]}}"),
    VECTOR(
        "validation_overflow_shape", "no tensor of the file has a name",
        LENGTH(
            "O") "{\"test\":{\"dtype\":\"I32\",\"shape\":[2,18446744073709551614],\"data_offsets\":[0,16]}}" ZEROS_16),
    VECTOR(
        "validation_overflow_bytes", "no tensor of the file has a name",
        LENGTH(
            "N") "{\"test\":{\"dtype\":\"I32\",\"shape\":[2,9223372036854775807],\"data_offsets\":[0,16]}}" ZEROS_16),
    /* of the rules in README.md: no name twice, no holes, strings in the metadata, an object as the header */
    VECTOR("duplicate_metadata_key", "a name comes twice",
           LENGTH("\x2C") "{\"__metadata__\":{\"format\":\"a\",\"format\":\"b\"}}"),
    VECTOR("duplicate_metadata", "a name comes twice",
           LENGTH("\x2B") "{\"__metadata__\":{},\"__metadata__\":{}}      "),
    VECTOR("metadata_not_strings", "a string is missing", LENGTH("\x1C") "{\"__metadata__\":{\"epoch\":3}}"),
    VECTOR("header_not_an_object", "not a JSON object", LENGTH("\x02") "[]"),
    VECTOR("missing_dtype", "dtype: it is missing",
           LENGTH("\x2B") "{\"test\":{\"shape\":[1],\"data_offsets\":[0,4]}}" ZEROS_4),
    VECTOR("negative_offset", "a whole number is missing",
           LENGTH("\x3A") "{\"test\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}"),
    VECTOR("end_before_begin", "beyond the end",
           LENGTH("\x3A") "{\"test\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}} " ZEROS_4),
    VECTOR("fractional_shape", "shape: a comma",
           LENGTH("\x3B") "{\"test\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}" ZEROS_4)
};
enum { VECTORS = sizeof vectors / sizeof *vectors };

#endif
