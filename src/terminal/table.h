// A Markdown table, drawn with columns as wide as their cells.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace flashmoe::terminal {

// Whether the line is the one under a table's head: |---|:--:|
bool is_table_rule(std::string_view line);

// `rows` are the lines of the table as written, its rule the second. Cells are cut where the table
// would be wider than `width` columns. Every line ends with a newline.
std::string draw_table(const std::vector<std::string>& rows, int width);

}  // namespace flashmoe::terminal
