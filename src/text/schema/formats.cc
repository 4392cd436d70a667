#include "text/schema/formats.h"

#include <map>
#include <string>

namespace flashmoe::text::schema {

namespace {

std::map<std::string, std::string, std::less<>> make_patterns() {
  // RFC 3339, years 0001 to 9999, the 29th of February in leap years only. No leap seconds.
  const std::string year = "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})";
  const std::string leap_year =
      "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)";
  const std::string day =
      "-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|"
      "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))";
  const std::string date = "(?:" + year + day + "|" + leap_year + "-02-29)";
  const std::string clock = "(?:[01][0-9]|2[0-3]):[0-5][0-9]";
  const std::string time = clock + ":[0-5][0-9](?:\\.[0-9]{1,6})?(?:Z|[+-]" + clock + ")";
  const std::string byte = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
  const std::string ipv4 = byte + "(?:\\." + byte + "){3}";
  const std::string group = "[0-9a-fA-F]{1,4}";
  // Whole, or with one gap of at least one group.
  std::string ipv6 = "(?:" + group + ":){7}" + group + "|::|::" + group + "(?::" + group + "){0,6}";
  for (int before = 1; before <= 7; ++before) {
    ipv6 += "|" + group + "(?::" + group + "){" + std::to_string(before - 1) + "}::";
    if (before < 7) {
      ipv6 += "(?:" + group + "(?::" + group + "){0," + std::to_string(6 - before) + "})?";
    }
  }
  const std::string label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?";
  const std::string host = label + "(?:\\." + label + "){0,6}";
  const std::string mailbox = "[a-zA-Z0-9_+-]{1,20}(?:\\.[a-zA-Z0-9_+-]{1,20}){0,2}";
  const std::string path = "(?:[a-zA-Z0-9._~!$&'()*+,;=:@/-]|%[0-9A-F]{2}){0,500}";
  const std::string uri = "(?:https?|ftp|wss?)://" + host + "(?::[1-9][0-9]{0,3})?(?:/" + path +
                          ")?(?:\\?" + path + ")?(?:#[a-zA-Z0-9._~-]{0,100})?";
  const std::string hex = "[0-9a-fA-F]";
  std::map<std::string, std::string, std::less<>> patterns = {
      {"date", date},
      {"time", time},
      {"date-time", date + "T" + time},
      {"duration",
       "P(?:[0-9]{1,6}W|[0-9]{1,6}D(?:T[0-9]{1,6}H)?|T[0-9]{1,6}[HMS]|"
       "[0-9]{1,6}Y(?:[0-9]{1,6}M(?:[0-9]{1,6}D)?)?|[0-9]{1,6}M(?:[0-9]{1,6}D)?|"
       "T[0-9]{1,6}H[0-9]{1,6}M(?:[0-9]{1,6}S)?|T[0-9]{1,6}M[0-9]{1,6}S)"},
      {"email", mailbox + "@" + label + "(?:\\." + label + "){1,3}"},
      {"hostname", host},
      {"ipv4", ipv4},
      {"ipv6", ipv6},
      {"uuid", hex + "{8}(?:-" + hex + "{4}){3}-" + hex + "{12}"},
      {"uri", uri},
      {"json-pointer", "(?:/(?:[^~/\"\\\\\\x00-\\x1f]|~[01]){0,50}){0,20}"},
  };
  for (auto& [name, pattern] : patterns) pattern = "^(?:" + pattern + ")$";
  return patterns;
}

const std::map<std::string, std::string, std::less<>>& patterns() {
  static const auto* const kPatterns = new auto(make_patterns());
  return *kPatterns;
}

}  // namespace

const char* format_pattern(std::string_view format) {
  const auto found = patterns().find(format);
  return found == patterns().end() ? nullptr : found->second.c_str();
}

std::string format_names() {
  std::string names;
  for (const auto& [name, pattern] : patterns()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

}  // namespace flashmoe::text::schema
