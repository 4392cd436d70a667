#include "base/npy.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>

#include "base/check.h"
#include "base/error.h"

namespace flashmoe {
namespace {

static_assert(std::endian::native == std::endian::little, "'<f4' is written from memory");

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kPreambleBytes = 10;  // magic, two bytes of version, uint16 header length
constexpr size_t kHeaderAlignment = 64;
constexpr size_t kMaxDimensions = 32;

// What stands behind 'key': in a header such as
// {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
std::string_view value_of(std::string_view header, std::string_view key, const std::string& name) {
  const std::string quoted = fmt::format("'{}':", key);
  const size_t at = header.find(quoted);
  if (at == std::string_view::npos) {
    throw_error(ErrorCode::kCorrupt, "{}: the .npy header has no '{}'", name, key);
  }
  header.remove_prefix(at + quoted.size());
  header.remove_prefix(std::min(header.find_first_not_of(' '), header.size()));
  return header;
}

std::vector<int64_t> parse_shape(std::string_view text, const std::string& name) {
  const auto corrupt = [&]() {
    throw_error(ErrorCode::kCorrupt, "{}: the .npy header's shape is damaged", name);
  };
  std::vector<int64_t> shape;
  if (!text.starts_with('(')) corrupt();
  text.remove_prefix(1);
  for (;;) {
    text.remove_prefix(std::min(text.find_first_not_of(" ,"), text.size()));
    if (text.starts_with(')')) return shape;
    int64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc() || n < 0 || shape.size() == kMaxDimensions) corrupt();
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    shape.push_back(n);
  }
}

template <typename T>
std::vector<T> copy_values(std::string_view data, std::span<const int64_t> shape,
                           const std::string& name) {
  // Each step is checked against what the file holds, so that nothing overflows.
  const size_t have = data.size() / sizeof(T);
  const bool empty = std::ranges::find(shape, 0) != shape.end();
  size_t want = empty ? 0 : 1;
  for (const int64_t n : shape) {
    if (want != 0 && static_cast<uint64_t>(n) > have / want) {
      throw_error(ErrorCode::kCorrupt, "{}: holds {} bytes of numbers, fewer than its shape needs",
                  name, data.size());
    }
    want *= static_cast<size_t>(n);
  }
  if (want * sizeof(T) != data.size()) {
    throw_error(ErrorCode::kCorrupt, "{}: holds {} bytes of numbers where its shape needs {}", name,
                data.size(), want * sizeof(T));
  }
  std::vector<T> values(want);
  if (want > 0) std::memcpy(values.data(), data.data(), data.size());
  return values;
}

}  // namespace

NpyWriter::NpyWriter(const std::string& path, int64_t rows, int64_t cols)
    : file_(path), rows_left_(rows), cols_(cols) {
  CHECK(rows >= 0 && cols >= 0);
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, cols);
  while ((kPreambleBytes + header.size() + 1) % kHeaderAlignment != 0) header += ' ';
  header += '\n';
  std::string preamble(kMagic);
  preamble += {'\x01', '\x00', static_cast<char>(header.size() & 0xff),
               static_cast<char>(header.size() >> 8)};
  file_.write(preamble + header);
}

void NpyWriter::write_row(std::span<const float> row) {
  CHECK(rows_left_ > 0 && row.size() == static_cast<size_t>(cols_));
  --rows_left_;
  file_.write(std::as_bytes(row));
}

void NpyWriter::finish() {
  CHECK(rows_left_ == 0);
  file_.commit();
}

NpyArray parse_npy(std::string_view bytes, const std::string& name) {
  if (bytes.size() < kPreambleBytes || !bytes.starts_with(kMagic)) {
    throw_error(ErrorCode::kCorrupt, "{}: is not a .npy file", name);
  }
  if (bytes[6] != 1) {
    throw_error(ErrorCode::kUnsupported, "{}: is a .npy file of version {}, not 1", name,
                static_cast<int>(static_cast<uint8_t>(bytes[6])));
  }
  const size_t header_bytes =
      static_cast<uint8_t>(bytes[8]) + 256u * static_cast<uint8_t>(bytes[9]);
  if (header_bytes > bytes.size() - kPreambleBytes) {
    throw_error(ErrorCode::kCorrupt, "{}: the file ends within the .npy header", name);
  }
  const std::string_view header = bytes.substr(kPreambleBytes, header_bytes);
  const std::string_view data = bytes.substr(kPreambleBytes + header_bytes);

  NpyArray array;
  array.shape = parse_shape(value_of(header, "shape", name), name);
  if (!value_of(header, "fortran_order", name).starts_with("False") && array.shape.size() > 1) {
    throw_error(ErrorCode::kUnsupported, "{}: is stored by columns; save it in C order", name);
  }
  const std::string_view descr = value_of(header, "descr", name);
  if (descr.starts_with("'<f4'")) {
    array.values = copy_values<float>(data, array.shape, name);
  } else if (descr.starts_with("'<i4'")) {
    array.values = copy_values<int32_t>(data, array.shape, name);
  } else if (descr.starts_with("'<i8'")) {
    array.values = copy_values<int64_t>(data, array.shape, name);
  } else {
    throw_error(ErrorCode::kUnsupported,
                "{}: has numbers of type {}; float32, int32 and int64 are "
                "supported",
                name, descr.substr(0, std::min<size_t>(descr.find(','), 20)));
  }
  return array;
}

NpyArray read_npy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw_error(ErrorCode::kNotFound, "{}: cannot be opened", path);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  return parse_npy(bytes, path);
}

}  // namespace flashmoe
