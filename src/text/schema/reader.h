// JSON Schema documents: what of them counts, references, and two schemas as one. Owns the
// document; makes no grammar.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace flashmoe::text::schema {

using Json = nlohmann::ordered_json;

// `path` stands in error messages: where in the document something is, "$.properties.x".
class SchemaReader {
 public:
  // Throws Error kUsage when the document is too large or nested too deeply.
  explicit SchemaReader(const Json& document);

  const Json& document() const { return document_; }
  // The schema without what only describes: {} stays for true. Throws for keywords that are not
  // known or cannot be honoured.
  Json relevant(const Json& schema, const std::string& path) const;
  // What "#/…" names.
  const Json& resolve(const Json& ref, const std::string& path) const;
  // A relevant schema without $ref and allOf at its top. A $ref that leads to itself is refused.
  Json flat(const Json& relevant, const std::string& path, int depth = 0) const;
  // Both flat schemas at once; inner schemas become an allOf.
  Json both(const Json& a, const Json& b, const std::string& path) const;

 private:
  Json document_;
};

// Whether the value has the type, which is one of JSON Schema's.
bool has_type(const Json& value, const std::string& type);
// Types of a relevant schema: as named, else those that its keywords speak of, else all.
std::vector<std::string> types_of(const Json& relevant);

[[noreturn]] void refuse(const std::string& path, const std::string& why);

}  // namespace flashmoe::text::schema
