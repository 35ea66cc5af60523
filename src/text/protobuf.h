// The wire format of protocol buffers, as far as reading goes.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

namespace sgl {

// Walks over the fields of a message. Thread: one. The bytes must outlive it.
class ProtobufReader {
 public:
  explicit ProtobufReader(std::string_view bytes) : rest_(bytes) {}

  struct Field {
    uint32_t number = 0;
    uint64_t value = 0;      // varints and fixed-size fields: the bits
    std::string_view bytes;  // strings, bytes and messages
    bool is_bytes = false;
    float as_float() const {
      const uint32_t bits = static_cast<uint32_t>(value);
      float out = 0;
      std::memcpy(&out, &bits, sizeof out);
      return out;
    }
  };
  // False at the end and when the bytes are not a message (then failed()).
  bool Next(Field* field) {
    if (rest_.empty() || failed_) return false;
    const uint64_t key = Varint();
    *field = {};
    field->number = static_cast<uint32_t>(key >> 3);
    switch (key & 7) {
      case 0: field->value = Varint(); break;
      case 1: field->value = Fixed(8); break;
      case 5: field->value = Fixed(4); break;
      case 2: {
        const uint64_t size = Varint();
        if (failed_ || size > rest_.size()) return Fail();
        field->bytes = rest_.substr(0, size);
        field->is_bytes = true;
        rest_.remove_prefix(size);
        break;
      }
      default: return Fail();  // groups are of the past
    }
    return field->number == 0 ? Fail() : !failed_;
  }
  bool failed() const { return failed_; }

 private:
  bool Fail() {
    failed_ = true;
    return false;
  }
  uint64_t Varint() {
    uint64_t out = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const unsigned char byte = static_cast<unsigned char>(rest_[0]);
      rest_.remove_prefix(1);
      out |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return out;
    }
    failed_ = true;
    return 0;
  }
  uint64_t Fixed(size_t size) {
    if (rest_.size() < size) return Fail(), 0;
    uint64_t out = 0;
    for (size_t i = 0; i < size; ++i) out |= static_cast<uint64_t>(static_cast<unsigned char>(rest_[i])) << (8 * i);
    rest_.remove_prefix(size);
    return out;
  }
  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace sgl
