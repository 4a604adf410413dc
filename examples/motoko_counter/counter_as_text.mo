// An upgrade to this one is refused: `value` was a Nat.
persistent actor Counter {
  var value : Text = "";

  public func inc() : async Text {
    value #= "|";
    value
  };

  public query func get() : async Text { value };
}
