# Reads forms as Ruby's own CGI does: a line of standard input has a content type and a body in hexadecimal.
require "cgi"
require "stringio"

STDIN.each_line(chomp: true) do |line|
  type, digits = line.split("\t")
  body = [digits].pack("H*")
  ENV.update("REQUEST_METHOD" => "POST", "CONTENT_TYPE" => type, "CONTENT_LENGTH" => body.bytesize.to_s)
  $stdin = StringIO.new(body)
  form = CGI.new.params.transform_values { |values| values[0].respond_to?(:read) ? values[0].read : values[0] }
  puts "#{form["from"].unpack1("H*")} #{form["event"]} #{form["sequence"]} #{form["time"]}"
end
